"""infra/setup.py in a checkout of its own, with a stand-in for uv."""

import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra import setup

UV = """#!/bin/sh
echo "$* home=$HOME index=$UV_DEFAULT_INDEX links=$UV_FIND_LINKS" >> "$UV_CALLS"
case "$1" in
  venv) for folder; do :; done; mkdir -p "$folder/bin" ;;
  pip) if [ -n "$UV_FAILS" ]; then echo "error: no such host" >&2; exit 2; fi ;;
esac
"""


@dataclass(frozen=True)
class Checkout:
    """A checkout with a stand-in for uv that records its calls."""

    root: Path

    def set_up(
        self, *arguments: str, **variables: str
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Run the set-up; return its result and the calls to uv."""
        calls = self.root / "calls"
        calls.write_text("")
        done = subprocess.run(
            [sys.executable, "-I", self.root / "infra" / "setup.py", *arguments],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.root), "UV_CALLS": str(calls)}
            | variables,
        )
        return done, calls.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    infra = Path(setup.__file__).parent
    shutil.copytree(infra / "requirements", tmp_path / "infra" / "requirements")
    shutil.copy(infra / "setup.py", tmp_path / "infra")
    uv = tmp_path / ".local" / "uv"
    (uv / "bin").mkdir(parents=True)
    (uv / "bin" / "uv").write_text(UV)
    (uv / "bin" / "uv").chmod(0o755)
    setup.stamp(uv, [platform.machine(), setup.digest(setup.REQUIREMENTS / "uv.txt")])
    return Checkout(tmp_path)


def test_a_second_set_up_installs_nothing(checkout: Checkout) -> None:
    done, calls = checkout.set_up()
    assert (done.returncode, done.stderr) == (0, "")
    made = len(set(setup.ENVIRONMENTS) - setup.ON_DEMAND)
    assert [call.split()[0] for call in calls] == ["venv", "pip"] * made
    assert all("--require-hashes" in call for call in calls if call.startswith("pip"))
    began = time.monotonic()
    done, calls = checkout.set_up()
    assert (done.returncode, done.stdout, done.stderr, calls) == (0, "", "", [])
    assert time.monotonic() - began < 3


def test_only_the_named_environments_are_installed(checkout: Checkout) -> None:
    _, calls = checkout.set_up("--only", "ministack")
    assert len(calls) == 2
    assert all("ministack" in call for call in calls)


@pytest.mark.parametrize("tool", ["axe", "newman", "typescript-client"])
def test_a_node_tool_is_installed_on_demand_in_its_pinned_version(
    checkout: Checkout, tool: str
) -> None:
    npm = checkout.root / "npm"
    npm.write_text('#!/bin/sh\necho "npm $*" >> "$UV_CALLS"\n')
    npm.chmod(0o755)
    path = f"{checkout.root}:/usr/bin:/bin"
    _, calls = checkout.set_up(PATH=path)
    assert not any(call.startswith("npm") for call in calls)
    done, [call] = checkout.set_up("--only", tool, PATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    folder = checkout.root / ".local" / tool
    assert call.startswith(f"npm ci --prefix {folder} --ignore-scripts ")
    assert "resolved" not in (folder / "package-lock.json").read_text()
    assert checkout.set_up("--only", tool, PATH=path)[1] == []


def test_without_npm_the_set_up_of_newman_fails_with_one_line(
    checkout: Checkout,
) -> None:
    done, calls = checkout.set_up("--only", "newman", PATH=str(checkout.root))
    assert (done.returncode, calls) == (1, [])
    assert done.stderr.splitlines() == [
        "set-up: newman needs npm on PATH; it comes with Node.js 20 or newer"
    ]


def test_tools_get_another_home_folder_if_home_is_not_writable(checkout: Checkout) -> None:
    done, calls = checkout.set_up("--only", "dev", HOME="/proc/none")
    assert (done.returncode, done.stderr) == (0, "")
    home = checkout.root / ".local" / "home"
    assert all(f" home={home} " in call for call in calls)
    assert home.is_dir()


def test_a_checkout_that_cannot_be_written_gives_an_error_of_one_line(checkout: Checkout) -> None:
    lock = checkout.root / ".local" / "setup.lock"
    lock.mkdir()
    done, calls = checkout.set_up()
    assert (done.returncode, done.stdout, calls) == (1, "", [])
    assert done.stderr == f"set-up: {lock}: Is a directory\n"


def test_python_and_uv_are_linked_for_builds(checkout: Checkout) -> None:
    checkout.set_up()
    python = checkout.root / ".local" / "bin" / "python3.13"
    done = subprocess.run([python, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Python 3.13")
    assert (checkout.root / ".local" / "bin" / "uv").exists()


def test_changed_requirements_are_installed_into_the_existing_environment(
    checkout: Checkout,
) -> None:
    checkout.set_up()
    requirements = checkout.root / "infra" / "requirements" / "sam.txt"
    requirements.write_text(requirements.read_text() + "# changed\n")
    _, calls = checkout.set_up()
    assert [call.split()[:2] for call in calls] == [["pip", "sync"]]


def test_an_interrupted_installation_is_repeated_from_scratch(checkout: Checkout) -> None:
    done, _ = checkout.set_up("--only", "dev", UV_FAILS="1")
    assert done.returncode == 1
    done, calls = checkout.set_up("--only", "dev")
    assert done.returncode == 0
    assert [call.split()[0] for call in calls] == ["venv", "pip"]
    assert "--clear" in calls[0]


def test_a_failed_set_up_prints_one_line_with_the_reason_and_the_log(checkout: Checkout) -> None:
    done, _ = checkout.set_up(UV_FAILS="1")
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert "error: no such host" in line
    assert ".local/setup.log" in line
    assert "error: no such host" in (checkout.root / ".local" / "setup.log").read_text()


def in_variables(_root: Path) -> Mapping[str, str]:
    return {"PIP_INDEX_URL": "http://mirror/a b'$x", "PIP_FIND_LINKS": "/one /two"}


def in_a_file(root: Path) -> Mapping[str, str]:
    file = root / "pip.conf"
    file.write_text("[global]\nindex-url = http://mirror/a b'$x\nfind-links =\n  /one\n  /two\n")
    return {"PIP_CONFIG_FILE": str(file)}


@pytest.mark.parametrize("settings", [in_variables, in_a_file])
def test_uv_gets_the_settings_of_pip(
    checkout: Checkout, settings: Callable[[Path], Mapping[str, str]]
) -> None:
    _, calls = checkout.set_up("--only", "dev", **settings(checkout.root))
    assert calls
    assert all(call.endswith("index=http://mirror/a b'$x links=/one,/two") for call in calls)


def test_uvs_own_settings_take_precedence_over_pips_settings(checkout: Checkout) -> None:
    _, calls = checkout.set_up(
        "--only", "dev", PIP_INDEX_URL="http://pips", UV_DEFAULT_INDEX="http://own"
    )
    assert all("index=http://own " in call for call in calls)


def test_an_unknown_environment_is_refused_with_the_known_names(checkout: Checkout) -> None:
    done, calls = checkout.set_up("--only", "everything")
    assert (done.returncode, calls) == (2, [])
    assert "dev" in done.stderr
