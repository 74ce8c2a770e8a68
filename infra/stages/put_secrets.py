"""Store a stage's secrets in SSM: `make secrets STAGE=dev`. No value is ever shown or logged.

Each secret is read without an echo; Enter keeps the stored value. Without a terminal, the secrets
are read from the environment: UPSTASH_TOKEN, GEMINI_API_KEY, STRIPE_SECRET_KEY,
STRIPE_WEBHOOK_SECRET. The first run also creates the key that signs tokens; `make rotate-keys`
replaces it.
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

from infra.command import CommandError
from infra.stages import rotate_signing_keys
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import Stage

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

SIGNING_KEYS = "signing-keys"


@dataclass(frozen=True)
class Secret:
    """A secret that another service issues."""

    name: str
    variable: str
    pattern: str
    """A pattern that every valid value matches completely."""
    where: str
    required: bool = True


type Ask = Callable[[Secret, bool], str]
"""`ask(secret, is_stored)` returns the value of a secret, or "" for no value."""

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
        "Stripe's dashboard, Developers, API keys; a key begins with sk_ or rk_",
        required=False,
    ),
    Secret(
        "stripe-webhook-secret",
        "STRIPE_WEBHOOK_SECRET",
        r"whsec_[^\s,]{10,}(,whsec_[^\s,]{10,})?",
        "Stripe's dashboard, Developers, Webhooks, your endpoint; a secret begins with whsec_; "
        "during a rotation enter both secrets with a comma between them",
        required=False,
    ),
]


@command
def main(arguments: list[str]) -> None:
    """Ask for each secret and store it at once, so that an interrupted run loses nothing."""
    stage = stages.connect(parser("secrets", __doc__).parse_args(arguments).stage)
    ask = _prompt if sys.stdin.isatty() else _read_environment
    for line in store(boto3.client("ssm"), stage, ask):
        print(line, flush=True)


def store(ssm: "SSMClient", stage: Stage, ask: Ask) -> Iterator[str]:
    """Store the answer of `ask` for each secret, unless the answer is ""; yield a line per secret.

    Raises CommandError for an invalid value, and at the end if a required secret is missing.
    """
    known = list_stored(ssm, stage)
    if SIGNING_KEYS not in known:
        rotate_signing_keys.step(ssm, f"{stage.secrets_path}/{SIGNING_KEYS}", datetime.now(UTC))
        yield f"{SIGNING_KEYS}: created"
    for secret in SECRETS:
        value = ask(secret, secret.name in known).strip()
        if value:
            check(secret, value, stage)
            ssm.put_parameter(
                Name=f"{stage.secrets_path}/{secret.name}",
                Value=value,
                Type="SecureString",
                Overwrite=True,
            )
            known.add(secret.name)
        state = "stored" if value else "kept" if secret.name in known else "not set"
        yield f"{secret.name}: {state}"
    if absent := list_missing(ssm, stage):
        raise CommandError(f"Still missing: {', '.join(absent)}. Run `make secrets` again.")


def check(secret: Secret, value: str, stage: Stage) -> None:
    """Raise CommandError if the value is not valid; the message does not contain the value."""
    if not re.fullmatch(secret.pattern, value):
        raise CommandError(f"The value is not a {secret.name}. Find the secret in {secret.where}.")
    if stage.name == "prod" and "_test_" in value[:12]:
        raise CommandError(f"The {secret.name} is from Stripe's test mode; prod needs live mode.")


def list_missing(ssm: "SSMClient", stage: Stage) -> list[str]:
    """Return the names of the required secrets that a stage does not have."""
    known = list_stored(ssm, stage)
    required = [SIGNING_KEYS, *(secret.name for secret in SECRETS if secret.required)]
    return [name for name in required if name not in known]


def list_stored(ssm: "SSMClient", stage: Stage) -> set[str]:
    """Return the names of the secrets that a stage has, without reading a value."""
    prefix = {"Key": "Name", "Option": "BeginsWith", "Values": [f"{stage.secrets_path}/"]}
    pages = ssm.get_paginator("describe_parameters").paginate(ParameterFilters=[prefix])  # type: ignore[list-item]
    found = (parameter["Name"] for page in pages for parameter in page["Parameters"])
    return {name.removeprefix(f"{stage.secrets_path}/") for name in found}


def _prompt(secret: Secret, is_stored: bool) -> str:
    otherwise = "keep the stored secret" if is_stored else "skip this secret"
    print(f"\n{secret.name}: {secret.where}")
    return getpass.getpass(f"  (not shown; press Enter to {otherwise}) ")


def _read_environment(secret: Secret, _is_stored: bool) -> str:
    return os.environ.get(secret.variable, "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
