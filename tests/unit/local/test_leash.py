"""A command on a leash ends with whoever started it, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from infra.local.cloud import leash

LEASH = [sys.executable, "-I", "-S", leash.__file__]
# Starts a grandchild, says both their numbers, and waits.
FAMILY = ["bash", "-c", "sleep 1000 & echo $$ $!; wait"]


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LEASH, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def family_of(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout
    return [int(pid) for pid in process.stdout.readline().split()]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # What has ended and was not yet collected does not run either.
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return not status.stdout.startswith("Z") and bool(status.stdout)


def all_end(pids: list[int], within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_the_commands_status_is_ours() -> None:
    assert start(["bash", "-c", "exit 7"]).wait(5) == 7
    assert start(["bash", "-c", "kill -KILL $$"]).wait(5) == 128 + signal.SIGKILL


def test_the_end_of_the_input_ends_the_command_and_its_children() -> None:
    process = start(FAMILY)
    family = family_of(process)
    assert all(is_running(pid) for pid in family)
    assert process.stdin
    process.stdin.close()
    process.wait(5)
    assert all_end(family)


def test_children_of_a_command_that_ended_by_itself_end_too() -> None:
    process = start(["bash", "-c", "sleep 1000 & echo $$ $!"])
    family = family_of(process)
    assert process.wait(5) == 0
    assert all_end(family)


def test_a_starter_that_is_killed_takes_the_command_along(tmp_path: Path) -> None:
    script = tmp_path / "starter.py"
    script.write_text(
        "import subprocess, sys\n"
        "child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "child.wait()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, str(script), *LEASH, *FAMILY], stdout=subprocess.PIPE, text=True
    )
    family = family_of(starter)
    starter.kill()
    starter.wait(5)
    assert all_end(family)


def test_a_command_that_does_not_listen_is_killed_after_the_grace_period() -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(leash.__file__).parent)!r}); import leash; "
    code += "leash.GRACE = 0.2; sys.exit(leash.main())"
    deaf = ["bash", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *deaf],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    family = family_of(process)
    assert process.stdin
    process.stdin.close()
    assert process.wait(5) == 128 + signal.SIGKILL
    assert all_end(family)
