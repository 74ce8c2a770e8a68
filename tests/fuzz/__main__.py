"""Test the API against its OpenAPI document with all of Schemathesis's checks.

`python -m tests.fuzz` tests the running local stack as a user on the pro plan. With `--url` it
tests another API as a user on the basic plan. The exit status is 0 if every answer was as
documented. Afterwards the API rejects passwords from this IP address for up to 15 minutes, because
the run sends many wrong passwords.
"""

import argparse
import sys
from pathlib import Path

from infra import running
from infra.paths import TOOLS
from tests.fuzz.run import fuzz, new_user


def main() -> int:
    """Run Schemathesis, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--url", help="the API's address (default: the running local stack)")
    parser.add_argument(
        "--minutes", type=float, default=10, help="duration of the run (default: 10)"
    )
    parser.add_argument("--seed", type=int, help="repeat the run that printed this seed")
    parser.add_argument("--data-folder", type=Path, default=TOOLS, help=argparse.SUPPRESS)
    options = parser.parse_args()

    local = None if options.url else running.find(options.data_folder.resolve())
    url = options.url or (local.api_url if local else None)
    if url is None:
        print("Nothing is running: start it with `make up`, or give a --url.", file=sys.stderr)
        return 1
    user = new_user(url, local.stripe if local else None)
    return fuzz(url, user, seconds=int(options.minutes * 60), seed=options.seed)


if __name__ == "__main__":
    sys.exit(main())
