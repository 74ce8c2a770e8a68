"""Run a command, and stop it when our parent process ends.

    python run_until_parent_exits.py COMMAND...

The command gets its own process group. Our standard input ends when the parent closes it or dies.
Then the command receives SIGTERM, and SIGKILL after a grace period. At the end, the remaining
processes of the command's group are killed. Ctrl-C in a terminal does not stop the command.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE = 20.0
"""Seconds between SIGTERM and SIGKILL; in this time MiniStack writes its state to disk."""


def main() -> int:
    """Run the command and return its exit status."""
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, process_group=0)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    threading.Thread(target=stop_at_end_of_input, args=[command], daemon=True).start()
    status = command.wait()
    kill_group(command.pid)
    return status if status >= 0 else 128 - status


def stop_at_end_of_input(command: subprocess.Popen[bytes]) -> None:
    """Wait for the end of our standard input, then stop the command."""
    while os.read(0, 1024):
        pass
    command.terminate()
    try:
        command.wait(GRACE)
    except subprocess.TimeoutExpired:
        kill_group(command.pid)


def kill_group(group: int) -> None:
    """Kill the remaining processes of a group."""
    with contextlib.suppress(OSError):  # no process is left
        os.killpg(group, signal.SIGKILL)


def wrap(*command: object) -> list[str]:
    """Return the command line that runs a command with this module."""
    return [sys.executable, "-I", "-S", __file__, *map(str, command)]


if __name__ == "__main__":
    sys.exit(main())
