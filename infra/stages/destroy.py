"""Delete a stage from AWS, its data and secrets included: `make destroy STAGE=dev`. Never prod.

A stack alone leaves its tables behind, so that no slip costs data; here they go as well, once
somebody has typed the stage's name.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError

from infra.stages import put_secrets
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import Stage, StageError


@command
def main(arguments: list[str]) -> None:
    """Show what would go, ask, and delete it."""
    stage = stages.read(parser("destroy", __doc__).parse_args(arguments).stage)
    if stage.name == "prod":
        raise StageError("prod is not destroyed from here: its tables refuse it, rightly.")
    print(f"{stage.stack}, {stages.account()}")
    for line in destroy(stage, input):
        print(line, flush=True)


def destroy(stage: Stage, ask: Callable[[str], str]) -> Iterator[str]:
    """Delete stack, tables and secrets once `ask` gives the stage's name; tell each step."""
    tables = tables_of(stage)
    ssm = boto3.client("ssm")
    parameters = [f"{stage.secrets_path}/{name}" for name in sorted(put_secrets.stored(ssm, stage))]
    yield f"This deletes the stack, {len(tables)} tables with all they hold, and its secrets."
    if ask(f"Type {stage.name} to go on: ").strip() != stage.name:
        raise StageError("Nothing was deleted.")
    stacks = boto3.client("cloudformation")
    stacks.delete_stack(StackName=stage.stack)
    stacks.get_waiter("stack_delete_complete").wait(StackName=stage.stack)
    yield f"{stage.stack}: deleted"
    dynamodb = boto3.client("dynamodb")
    left = [name for name in tables if _is_there(dynamodb, name)]
    for name in left:
        dynamodb.delete_table(TableName=name)
        yield f"{name}: deleted"
    for start in range(0, len(parameters), 10):
        ssm.delete_parameters(Names=parameters[start : start + 10])
    yield f"{len(parameters)} secrets: deleted"


def tables_of(stage: Stage) -> list[str]:
    """Return the names of the stack's tables. Raises StageError where there is no stack."""
    stacks = boto3.client("cloudformation")
    try:
        stacks.describe_stacks(StackName=stage.stack)
    except ClientError as error:
        raise StageError(f"There is no stack {stage.stack} to delete ({error}).") from error
    pages = stacks.get_paginator("list_stack_resources").paginate(StackName=stage.stack)
    found = [resource for page in pages for resource in page["StackResourceSummaries"]]
    tables = [one for one in found if one["ResourceType"] == "AWS::DynamoDB::Table"]
    return sorted(table["PhysicalResourceId"] for table in tables)


def _is_there(dynamodb: Any, table: str) -> bool:
    try:
        dynamodb.describe_table(TableName=table)
    except dynamodb.exceptions.ResourceNotFoundException:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
