"""Stages: their settings in samconfig.toml, and the account and region that a command uses."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra import running
from infra.command import CommandError
from infra.paths import ROOT

SAMCONFIG = ROOT / "samconfig.toml"
PLACEHOLDER = "YOUR"
LOCAL = "local"


@dataclass(frozen=True)
class Stage:
    """One stage: its name, its CloudFormation stack, and the template's parameters."""

    name: str
    stack: str
    parameters: Mapping[str, str]

    @property
    def unfilled(self) -> list[str]:
        """The parameters that still contain samconfig's placeholder."""
        return [name for name, value in self.parameters.items() if PLACEHOLDER in value]

    @property
    def secrets_path(self) -> str:
        """The prefix of the names of the stage's secrets in SSM."""
        return f"/geminichat/{self.name}"


def read(name: str, samconfig: Path = SAMCONFIG) -> Stage:
    """Return a stage. Raises CommandError if samconfig.toml has no valid stage of this name."""
    config = tomllib.loads(samconfig.read_text())
    stages = {
        section: settings["deploy"]["parameters"]
        for section, settings in config.items()
        if isinstance(settings, dict) and "deploy" in settings
    }
    if name not in stages:
        raise CommandError(
            f"samconfig.toml has no stage {name!r}. It has: {', '.join(sorted(stages))}. "
            f"To add a stage, add the section [{name}.deploy.parameters]."
        )
    settings = stages[name]
    parameters = dict(text.split("=", 1) for text in settings["parameter_overrides"])
    if parameters.get("Stage") != name:
        raise CommandError(
            f'In samconfig.toml, [{name}.deploy.parameters] must contain "Stage={name}".'
        )
    if settings["stack_name"] != f"geminichat-{name}":  # roles use this name
        raise CommandError(
            f"In samconfig.toml, [{name}.deploy.parameters] must contain "
            f'stack_name="geminichat-{name}".'
        )
    return Stage(name, settings["stack_name"], parameters)


def connect(name: str, data_folder: Path | None = None) -> Stage:
    """Connect this process to the AWS account and region of a stage, and return the stage.

    Print the account and the region, which boto3, SAM and our own AWS client use from now on. With
    a data folder, the stage `local` is the stack that runs in the folder. Raises CommandError.
    """
    if data_folder and name == LOCAL:
        stack = running.get(data_folder)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            os.environ.pop(name, None)
        os.environ.update(stack.aws.environment)
        return Stage(LOCAL, stack.stack, {"Stage": LOCAL})
    stage = read(name)
    region = os.environ.get("AWS_REGION") or boto3.Session().region_name
    if not region:
        raise CommandError("No AWS region is set. Set one with: export AWS_REGION=eu-central-1")
    os.environ.update(AWS_REGION=region, AWS_DEFAULT_REGION=region)
    try:
        account = boto3.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"AWS does not accept your credentials ({error}). Log in with `aws configure` or "
            "`aws sso login`, and name the profile with: export AWS_PROFILE=…"
        ) from error
    print(f"Stage {name}: stack {stage.stack} in account {account}, region {region}", flush=True)
    return stage


def outputs(stage: Stage) -> dict[str, str] | None:
    """Return the outputs of the stage's stack, or None if there is no stack."""
    try:
        [stack] = boto3.client("cloudformation").describe_stacks(StackName=stage.stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}


def resources(stage: Stage, kind: str = "") -> dict[str, str]:
    """Return the physical ids of the stack's resources by logical id; `kind` selects a type.

    Raises CommandError if there is no stack.
    """
    if outputs(stage) is None:
        raise CommandError(f"There is no stack {stage.stack} here: {stage.name} is not deployed.")
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources")
    return {
        resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
        for page in pages.paginate(StackName=stage.stack)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"].startswith(kind)
    }
