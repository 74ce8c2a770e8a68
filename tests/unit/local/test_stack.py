"""stack.json is there while a stack runs, and only then."""

import json
import os
from pathlib import Path

import pytest

from infra.local.cloud import stack
from infra.paths import Home, LocalError
from tests.support.descriptions import DESCRIPTION


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_the_description_is_written_in_camel_case_and_read_back(home: Home) -> None:
    with stack.claimed(home):
        stack.write(home, DESCRIPTION)
        written = json.loads(home.description.read_text())
        assert stack.read(home) == stack.running(home) == DESCRIPTION
    assert written["apiUrl"] == "http://127.0.0.1:8000"
    assert written["aws"]["endpointUrl"] == "http://127.0.0.1:4566"
    assert written["tables"] == {"UsersTable": "users-1"}
    assert written["queues"]["PromptsQueue"]["arn"] == "arn:q"
    assert written["gemini"] is None


def test_nothing_runs_before_and_after(home: Home) -> None:
    assert stack.read(home) is None
    with stack.claimed(home):
        assert stack.read(home) is None
        stack.write(home, DESCRIPTION)
    assert not home.description.exists()
    with pytest.raises(LocalError, match="make up"):
        stack.running(home)


def test_a_description_left_behind_by_a_killed_run_counts_for_nothing(home: Home) -> None:
    home.folder.mkdir()
    stack.write(home, DESCRIPTION)
    assert stack.read(home) is None
    with stack.claimed(home):
        assert not home.description.exists()


def test_a_second_run_is_told_where_the_first_one_is(home: Home) -> None:
    with stack.claimed(home):
        with pytest.raises(LocalError, match=rf"still starting \(process {os.getpid()}\)"):
            stack.claimed(home).__enter__()
        stack.write(home, DESCRIPTION)
        with pytest.raises(LocalError, match=r"already at http://127\.0\.0\.1:8000"):
            stack.claimed(home).__enter__()
    with stack.claimed(home):
        assert home.lock.read_text() == str(os.getpid())
