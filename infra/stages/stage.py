"""The stages on AWS, as samconfig.toml describes them, and the account they are in."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.paths import ROOT

SAMCONFIG = ROOT / "samconfig.toml"
PLACEHOLDER = "YOUR"


class StageError(Exception):
    """What is wrong and what to do about it, for a person."""


@dataclass(frozen=True)
class Stage:
    """One stage: what it is called, and the template's parameters."""

    name: str
    stack: str
    parameters: Mapping[str, str]

    @property
    def unfilled(self) -> list[str]:
        """The parameters that still hold samconfig's placeholder."""
        return [name for name, value in self.parameters.items() if PLACEHOLDER in value]

    @property
    def secrets_path(self) -> str:
        """What the names of its secrets in SSM begin with."""
        return f"/geminichat/{self.name}"


def read(name: str, samconfig: Path = SAMCONFIG) -> Stage:
    """Return a stage. Raises StageError where samconfig has none of that name."""
    config = tomllib.loads(samconfig.read_text())
    stages = {
        section: settings["deploy"]["parameters"]
        for section, settings in config.items()
        if isinstance(settings, dict) and "deploy" in settings
    }
    if name not in stages:
        raise StageError(
            f"samconfig.toml has no stage {name!r}. It has: {', '.join(sorted(stages))}. "
            f"Add [{name}.deploy.parameters] to make one."
        )
    settings = stages[name]
    parameters = dict(text.split("=", 1) for text in settings["parameter_overrides"])
    if parameters.get("Stage") != name:
        raise StageError(f'In samconfig.toml, [{name}.deploy.parameters] must say "Stage={name}".')
    return Stage(name, settings["stack_name"], parameters)


def account() -> str:
    """Return "account …, region …" of the credentials at hand. Raises StageError."""
    session = boto3.Session()
    if not session.region_name:
        raise StageError("No AWS region is set. Say which: export AWS_REGION=eu-central-1")
    try:
        identity = session.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise StageError(
            f"AWS does not know you ({error}). Log in with `aws configure` or `aws sso login`, "
            "and name the profile: export AWS_PROFILE=…"
        ) from error
    return f"account {identity['Account']}, region {session.region_name}"
