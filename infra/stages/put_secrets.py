"""Put a stage's secrets into SSM: `make secrets STAGE=dev`. No value is ever shown or logged.

Each is asked for without an echo; Enter keeps what is there. Where nobody sits at a terminal they
are taken from the environment: UPSTASH_TOKEN, GEMINI_API_KEY, STRIPE_SECRET_KEY,
STRIPE_WEBHOOK_SECRET. The keys that sign tokens are made here, once; `make rotate-keys`
changes them.
"""

import getpass
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3

from infra.stages import rotate_signing_keys
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import Stage, StageError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

SIGNING_KEYS = "signing-keys"


@dataclass(frozen=True)
class Secret:
    """A secret that somebody else made."""

    name: str
    variable: str
    looks_like: str
    """A pattern of the whole value, which tells a slip of the clipboard."""
    where: str
    needed: bool = True


type Ask = Callable[[Secret, bool], str]
"""Gives a secret, "" for none; is told whether there is one already."""

SECRETS = [
    Secret(
        "upstash-token",
        "UPSTASH_TOKEN",
        r"\S{20,}",
        "Upstash's console, your database, REST API, the token that may write",
    ),
    Secret("gemini-api-key", "GEMINI_API_KEY", r"\S{20,}", "Google AI Studio, API keys"),
    Secret(
        "stripe-secret-key",
        "STRIPE_SECRET_KEY",
        r"(sk|rk)_(test|live)_\S{10,}",
        "Stripe's dashboard, Developers, API keys; it begins with sk_ or rk_",
        needed=False,
    ),
    Secret(
        "stripe-webhook-secret",
        "STRIPE_WEBHOOK_SECRET",
        r"whsec_[^\s,]{10,}(,whsec_[^\s,]{10,})?",
        "Stripe's dashboard, Developers, Webhooks, your endpoint; whsec_…, two with a comma "
        "between them while one is rotated",
        needed=False,
    ),
]


@command
def main(arguments: list[str]) -> None:
    """Ask for each secret and store it; where that is stopped, what was stored so far is kept."""
    stage = stages.read(parser("secrets", __doc__).parse_args(arguments).stage)
    print(f"Secrets of {stage.name}, {stages.account()}")
    ask = _ask if sys.stdin.isatty() else _take
    for line in store(boto3.client("ssm"), stage, ask):
        print(line, flush=True)


def store(ssm: "SSMClient", stage: Stage, ask: Ask) -> Iterator[str]:
    """Store what `ask` gives for each secret, "" meaning as it is; tell what was done.

    Raises StageError for what cannot be right, and where a needed one is missing at the end.
    """
    there = stored(ssm, stage)
    if SIGNING_KEYS not in there:
        rotate_signing_keys.step(ssm, f"{stage.secrets_path}/{SIGNING_KEYS}", datetime.now(UTC))
        yield f"{SIGNING_KEYS}: made"
    for secret in SECRETS:
        value = ask(secret, secret.name in there).strip()
        if value:
            check(secret, value, stage)
            ssm.put_parameter(
                Name=f"{stage.secrets_path}/{secret.name}",
                Value=value,
                Type="SecureString",
                Overwrite=True,
            )
            there.add(secret.name)
        state = "stored" if value else "kept" if secret.name in there else "not set"
        yield f"{secret.name}: {state}"
    if lacking := [secret.name for secret in SECRETS if secret.needed and secret.name not in there]:
        raise StageError(f"Still needed: {', '.join(lacking)}. Run this again.")


def check(secret: Secret, value: str, stage: Stage) -> None:
    """Raise StageError for a value that cannot be right; it is not repeated."""
    if not re.fullmatch(secret.looks_like, value):
        raise StageError(f"That is no {secret.name}. It is at: {secret.where}.")
    if stage.name == "prod" and "_test_" in value[:12]:
        raise StageError(f"That {secret.name} is for Stripe's test mode; prod takes real money.")


def missing(ssm: "SSMClient", stage: Stage) -> list[str]:
    """Return the secrets that a stage cannot do without and does not have."""
    there = stored(ssm, stage)
    needed = [SIGNING_KEYS, *(secret.name for secret in SECRETS if secret.needed)]
    return [name for name in needed if name not in there]


def stored(ssm: "SSMClient", stage: Stage) -> set[str]:
    """Return the names of the secrets that a stage has; no value is read."""
    wanted = {"Key": "Name", "Option": "BeginsWith", "Values": [f"{stage.secrets_path}/"]}
    pages = ssm.get_paginator("describe_parameters").paginate(ParameterFilters=[wanted])  # type: ignore[list-item]
    found = (parameter["Name"] for page in pages for parameter in page["Parameters"])
    return {name.removeprefix(f"{stage.secrets_path}/") for name in found}


def _ask(secret: Secret, is_there: bool) -> str:
    otherwise = "keeps it" if is_there else "leaves it for later"
    print(f"\n{secret.name}: {secret.where}")
    return getpass.getpass(f"  (not shown; Enter {otherwise}) ")


def _take(secret: Secret, _is_there: bool) -> str:
    return os.environ.get(secret.variable, "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
