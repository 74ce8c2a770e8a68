"""Kill processes of a running stack, as a crash does."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.local.cloud import run_until_parent_exits
from infra.running import Stack

WRAPPER = Path(run_until_parent_exits.__file__).name


def kill_valkey(stack: Stack) -> bool:
    """Kill Valkey; `make up` restarts Valkey without data after a few seconds."""
    return _kill("valkey-server", f":{stack.valkey.port}")


def kill_emulated_aws(stack: Stack) -> bool:
    """Kill MiniStack with all processes of functions; `make up` restarts MiniStack."""
    return _kill("emulated_aws.py", str(Path(stack.logs).parent / "data" / "aws"))


def kill_function(stack: Stack, logical_id: str) -> bool:
    """Kill the processes of a function; the next call starts a new process."""
    folder = str(Path(stack.logs).parent / "tmp")
    return _kill(folder, f"ministack-lambda-{stack.functions[logical_id]}-")


def _kill(*texts: str) -> bool:
    """Kill each process whose command contains these texts; return whether there was one."""
    found = False
    for pid, command in _commands():
        if WRAPPER not in command and all(text in command for text in texts):
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGKILL)
                found = True
    return found


def _commands() -> Iterator[tuple[int, str]]:
    """Yield the id and the command of every process: from /proc on Linux, from ps elsewhere."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield int(process.parent.name), process.read_text(errors="replace").replace("\0", " ")
    if not Path("/proc").exists():
        listed = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True)
        for line in listed.stdout.splitlines():
            pid, _, command = line.strip().partition(" ")
            yield int(pid), command
