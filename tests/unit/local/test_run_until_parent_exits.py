"""A wrapped command ends with its parent and leaves no process behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.local.cloud import run_until_parent_exits
from infra.paths import ROOT

WRAPPER = run_until_parent_exits.wrap()
# Starts a child of its own, prints both process ids, and waits.
FAMILY = ["bash", "-c", "sleep 1000 & echo $$ $!; wait"]


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*WRAPPER, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def family_of(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout
    return [int(pid) for pid in process.stdout.readline().split()]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie is not running either.
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return not status.stdout.startswith("Z") and bool(status.stdout)


def all_end(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_the_wrapper_returns_the_commands_exit_status() -> None:
    assert start(["bash", "-c", "exit 7"]).wait(5) == 7
    assert start(["bash", "-c", "kill -KILL $$"]).wait(5) == 128 + signal.SIGKILL


def test_a_command_and_its_children_are_stopped_when_the_input_ends() -> None:
    process = start(FAMILY)
    family = family_of(process)
    assert all(is_running(pid) for pid in family)
    assert process.stdin
    process.stdin.close()
    process.wait(5)
    assert all_end(family)


def test_the_children_of_a_command_are_stopped_when_the_command_ends() -> None:
    process = start(["bash", "-c", "sleep 1000 & echo $$ $!"])
    family = family_of(process)
    assert process.wait(5) == 0
    assert all_end(family)


def test_the_command_is_stopped_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script), *WRAPPER, *FAMILY], stdout=subprocess.PIPE, text=True
    )
    family = family_of(parent)
    parent.kill()
    parent.wait(5)
    assert all_end(family)


def test_a_command_that_ignores_sigterm_is_killed_after_the_grace_period() -> None:
    code = "import sys; from infra.local.cloud import run_until_parent_exits as wrapper; "
    code += "wrapper.GRACE = 0.2; sys.exit(wrapper.main())"
    stubborn = ["bash", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *stubborn],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    family = family_of(process)
    assert process.stdin
    process.stdin.close()
    assert process.wait(5) == 128 + signal.SIGKILL
    assert all_end(family)
