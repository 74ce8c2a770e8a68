"""Find the settings, files and sockets that our modules read or open when they are imported.

The script imports the modules that its arguments name. It prints each effect as a line of JSON: the
module, and the effect. An effect belongs to the module whose own code or calls cause it, not to a
module that only imports that module.
"""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

OURS = tuple(
    str(Path(__file__).parents[2] / folder) + os.sep for folder in ("layers/core", "functions")
)
EVENTS = {"open", "os.listdir", "os.scandir", "socket.__new__", "subprocess.Popen"}
"""Names of Python's audit events."""


def report(effect: str) -> None:
    """Print an effect if one of our modules is its cause."""
    cause = find_cause(sys._getframe(1))
    if cause:
        print(json.dumps([cause, effect]), file=sys.__stdout__)


def find_cause(frame: FrameType | None) -> str | None:
    """Return the name of our module that caused the call in this frame, or None."""
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_code.co_filename.startswith(OURS):
            return str(frame.f_globals["__name__"])
        frame = frame.f_back
    return None


def watch() -> None:
    """Report effects from now on."""
    read, names = os._Environ.__getitem__, os._Environ.__iter__

    def read_one(environment: Any, name: str) -> str:
        report(f"reads the environment variable {name}")
        return str(read(environment, name))

    def read_names(environment: Any) -> Iterator[str]:
        report("reads the environment")
        return names(environment)

    os._Environ.__getitem__, os._Environ.__iter__ = read_one, read_names  # type: ignore[method-assign, assignment]
    sys.addaudithook(
        lambda event, given: report(f"{event} {given[0]}") if event in EVENTS else None
    )


if __name__ == "__main__":
    watch()
    for module in sys.argv[1:]:
        importlib.import_module(module)
