"""Run a command that cannot outlive us: `python leash.py COMMAND...`.

The command gets a process group of its own. When our input ends, because whoever started us
closed it or died, the command is asked to stop, and after a grace period it is killed; whatever
it leaves in its group is killed with it. Ctrl-C in a terminal reaches neither of us.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE = 20.0
"""Seconds between asking and killing: MiniStack writes its state to disk."""


def main() -> int:
    """Run the command, and return its exit status."""
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, process_group=0)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    threading.Thread(target=stop_at_end_of_input, args=[command], daemon=True).start()
    status = command.wait()
    kill_group(command.pid)
    return status if status >= 0 else 128 - status


def stop_at_end_of_input(command: subprocess.Popen[bytes]) -> None:
    """Wait for the end of our input, then end the command."""
    while os.read(0, 1024):
        pass
    command.terminate()
    try:
        command.wait(GRACE)
    except subprocess.TimeoutExpired:
        kill_group(command.pid)


def kill_group(group: int) -> None:
    """Kill what is left of a process group."""
    with contextlib.suppress(OSError):  # nothing is left
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
