"""The description of a running stack exists only while the stack runs."""

import json
import os
from pathlib import Path

import pytest

from infra import running
from infra.command import CommandError
from infra.local.data_folder import DataFolder
from tests.support.descriptions import DESCRIPTION


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def test_the_description_of_a_stack_is_written_in_camel_case_and_read_back(
    folder: DataFolder,
) -> None:
    with folder.lock():
        folder.write(DESCRIPTION)
        written = json.loads((folder.path / "stack.json").read_text())
        assert running.find(folder.path) == running.get(folder.path) == DESCRIPTION
    assert written["apiUrl"] == "http://127.0.0.1:8000"
    assert written["aws"]["endpointUrl"] == "http://127.0.0.1:4566"
    assert written["tables"] == {"UsersTable": "users-1"}
    assert written["queues"]["PromptsQueue"]["arn"] == "arn:q"
    assert written["gemini"] is None


def test_no_stack_is_found_before_and_after_a_run(folder: DataFolder) -> None:
    assert running.find(folder.path) is None
    with folder.lock():
        assert running.find(folder.path) is None
        folder.write(DESCRIPTION)
    assert not (folder.path / "stack.json").exists()
    with pytest.raises(CommandError, match="make up"):
        running.get(folder.path)


def test_the_description_of_a_killed_run_is_ignored_and_deleted(folder: DataFolder) -> None:
    folder.path.mkdir()
    folder.write(DESCRIPTION)
    assert running.find(folder.path) is None
    with folder.lock():
        assert not (folder.path / "stack.json").exists()


def test_an_unwritable_data_folder_is_an_error_with_its_path_and_the_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    says = f"The data folder {tmp_path}/file/data cannot be written: Not a directory. Change the"
    with pytest.raises(CommandError, match=says), DataFolder(tmp_path / "file/data").lock():
        pass


def test_a_second_make_up_is_refused_with_the_address_of_the_running_stack(
    folder: DataFolder,
) -> None:
    with folder.lock():
        with pytest.raises(CommandError, match=rf"still starting \(process {os.getpid()}\)"):
            folder.lock().__enter__()
        folder.write(DESCRIPTION)
        with pytest.raises(CommandError, match=r"already running at http://127\.0\.0\.1:8000"):
            folder.lock().__enter__()
    with folder.lock():
        assert (folder.path / "up.lock").read_text() == str(os.getpid())
