"""Replace the signing key of a stage in two runs: `make rotate-keys`.

The first run adds a key. The key signs tokens after ten minutes, when every sandbox has read it.
The second run removes the old key if all tokens of the old key have expired; before that, the
command changes nothing. No key is ever printed.
"""

import secrets
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3

from geminichat.domain.signing import StoredKeys
from infra.command import CommandError
from infra.stages import stage as stages
from infra.stages.command import command, parser

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

KEY_BYTES = 32


class TooEarly(CommandError):
    """The old key cannot be removed yet."""


@command
def main(arguments: list[str]) -> None:
    """Take the next step, and print a sentence about the step."""
    options = parser("rotate-keys", __doc__, local=True).parse_args(arguments)
    stage = stages.connect(options.stage, options.data_folder)
    ssm, name = boto3.client("ssm"), f"{stage.secrets_path}/signing-keys"
    try:
        ssm.get_parameter(Name=name)
    except ssm.exceptions.ParameterNotFound as error:
        raise CommandError(
            f"{name} does not exist here. `make secrets STAGE={stage.name}` creates it."
        ) from error
    print(step(ssm, name, datetime.now(UTC)))


def step(ssm: "SSMClient", name: str, now: datetime) -> str:
    """Create the first key, or take the next step; return a sentence that describes the step.

    Raises TooEarly if the old key is still needed.
    """
    kid, key = secrets.token_hex(4), secrets.token_bytes(KEY_BYTES)
    try:
        held = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        _put(ssm, name, StoredKeys.create(kid, key))
        return f"Created {name} with the first key, {kid}."

    stored = StoredKeys.read(held)
    removable = stored.removable_from()
    if removable is None:
        added = stored.add(kid, key, now)
        _put(ssm, name, added)
        return (
            f"Step 1 of 2: added key {kid}, which signs from {added.current_from} on. "
            f"Run `make rotate-keys` again after {_text(added.removable_from())} to remove key "
            f"{stored.current}."
        )
    if now < removable:
        raise TooEarly(
            f"Key {stored.previous} is still needed: run `make rotate-keys` again after "
            f"{_text(removable)}."
        )
    _put(ssm, name, stored.remove_previous())
    return f"Step 2 of 2: removed key {stored.previous}; {stored.current} is the only key."


def _put(ssm: "SSMClient", name: str, keys: StoredKeys) -> None:
    ssm.put_parameter(Name=name, Value=keys.text(), Type="SecureString", Overwrite=True)


def _text(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
