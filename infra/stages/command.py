"""The parser and the error handling that all commands on a stage share."""

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from infra.command import CommandError
from infra.paths import TOOLS

EXPECTED = (CommandError, ClientError, BotoCoreError)
"""The errors that a command reports in a line or two."""

type Command = Callable[[list[str]], None]


def parser(
    name: str,
    about: str | None,
    *,
    local: bool = False,
    kind: type[argparse.ArgumentParser] = argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Return the parser of `make NAME`. With `local`, the stage may be the stack of `make up`."""
    made = kind(prog=f"make {name}", description=about)
    on_aws = "a stage on AWS, such as dev"
    stages = f"`local` for the stack of `make up`, or {on_aws}" if local else on_aws
    made.add_argument("stage", help=stages)
    if local:
        made.add_argument("--data-folder", type=Path, default=TOOLS, help=argparse.SUPPRESS)
    return made


def command(main: Command) -> Callable[[list[str]], int]:
    """Return a function that runs a command, prints expected errors, and returns a status."""

    @functools.wraps(main)
    def run(arguments: list[str]) -> int:
        try:
            main(arguments)
            sys.stdout.flush()
        except BrokenPipeError:  # a reader such as `head` has closed stdout
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141  # as after SIGPIPE
        except EXPECTED as error:
            print(error, file=sys.stderr)
            return 1
        except (KeyboardInterrupt, EOFError):
            print("\nStopped.", file=sys.stderr)
            return 130
        return 0

    return run
