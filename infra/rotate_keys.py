"""Put a new signing key in the place of the old one, one of two steps a run: `make rotate-keys`.

The first run adds a key, which signs ten minutes later, when every sandbox has read it. The second,
once no token of the old key is left, removes that one; run too early it changes nothing. Where
there are no keys yet, it makes the first. No key is ever printed.
"""

import argparse
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from geminichat.domain.signing import StoredKeys
from infra.local import stack
from infra.local.home import TOOLS, Home, LocalError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

KEY_BYTES = 32


class TooEarly(Exception):
    """The old key is still needed."""


def main(arguments: list[str]) -> int:
    """Take the step that is due and say what was done; return the exit status."""
    parser = argparse.ArgumentParser(prog="make rotate-keys", description=__doc__)
    parser.add_argument("stage", help="local for what `make up` runs, else a stage on AWS")
    parser.add_argument("--home", type=Path, default=TOOLS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        ssm = _local(Home(options.home)) if options.stage == "local" else boto3.client("ssm")
        print(step(ssm, f"/geminichat/{options.stage}/signing-keys", datetime.now(UTC)))
    except (TooEarly, LocalError, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def step(ssm: "SSMClient", name: str, now: datetime) -> str:
    """Take the step that is due at `now` and return what to tell. Raises TooEarly."""
    kid, key = secrets.token_hex(4), secrets.token_bytes(KEY_BYTES)
    try:
        held = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        _put(ssm, name, StoredKeys.first(kid, key))
        return f"{name} did not exist: it holds its first key now, {kid}."

    stored = StoredKeys.read(held)
    removable = stored.removable_from()
    if removable is None:
        added = stored.add(kid, key, now)
        _put(ssm, name, added)
        return (
            f"Step 1 of 2: key {kid} is added and signs from {added.current_from}. "
            f"Run this again after {_text(added.removable_from())} to remove key {stored.current}."
        )
    if now < removable:
        raise TooEarly(
            f"Key {stored.previous} is still needed: run this again after {_text(removable)}."
        )
    _put(ssm, name, stored.remove_previous())
    return f"Step 2 of 2: key {stored.previous} is removed, {stored.current} is the only one."


def _local(home: Home) -> "SSMClient":
    aws = stack.running(home).aws
    return boto3.client(
        "ssm",
        endpoint_url=aws.endpoint_url,
        region_name=aws.region,
        aws_access_key_id=aws.access_key_id,
        aws_secret_access_key=aws.secret_access_key,
    )


def _put(ssm: "SSMClient", name: str, keys: StoredKeys) -> None:
    ssm.put_parameter(Name=name, Value=keys.text(), Type="SecureString", Overwrite=True)


def _text(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
