"""Put a new signing key in the place of the old one, one of two steps a run: `make rotate-keys`.

The first run adds a key, which signs ten minutes later, when every sandbox has read it. The second,
once no token of the old key is left, removes that one; run too early it changes nothing. Where
there are no keys yet, it makes the first. No key is ever printed.
"""

import secrets
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3

from geminichat.domain.signing import StoredKeys
from infra.local.cloud import stack
from infra.paths import Home
from infra.stages.command import command, parser
from infra.stages.stage import StageError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

KEY_BYTES = 32


class TooEarly(StageError):
    """The old key is still needed."""


@command
def main(arguments: list[str]) -> None:
    """Take the step that is due and say what was done."""
    options = parser("rotate-keys", __doc__, local=True).parse_args(arguments)
    local = options.stage == "local"
    ssm = stack.running(Home(options.home)).aws.client("ssm") if local else boto3.client("ssm")
    print(step(ssm, f"/geminichat/{options.stage}/signing-keys", datetime.now(UTC)))


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


def _put(ssm: "SSMClient", name: str, keys: StoredKeys) -> None:
    ssm.put_parameter(Name=name, Value=keys.text(), Type="SecureString", Overwrite=True)


def _text(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
