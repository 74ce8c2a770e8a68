"""What every command on a stage begins with, and how it ends where it cannot do its work."""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from infra.paths import TOOLS, LocalError
from infra.stages.stage import StageError

type Command = Callable[[list[str]], None]


def parser(name: str, about: str | None, *, local: bool = False) -> argparse.ArgumentParser:
    """Return the parser of `make name`, which is told a stage; `local`: or what `make up` runs."""
    made = argparse.ArgumentParser(prog=f"make {name}", description=about)
    said = "local for what `make up` runs, else a stage on AWS" if local else None
    made.add_argument("stage", help=said)
    if local:
        made.add_argument("--home", type=Path, default=TOOLS, help=argparse.SUPPRESS)
    return made


def command(main: Command) -> Callable[[list[str]], int]:
    """Have a command return its exit status, and say in a line why it did not do its work."""

    @functools.wraps(main)
    def run(arguments: list[str]) -> int:
        try:
            main(arguments)
        except (LocalError, StageError, ClientError, BotoCoreError) as error:
            print(error, file=sys.stderr)
            return 1
        except (KeyboardInterrupt, EOFError):
            print("\nStopped.", file=sys.stderr)
            return 130
        return 0

    return run
