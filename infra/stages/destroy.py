"""Delete a stage with its data and secrets from AWS: `make destroy STAGE=dev`. Prod is refused.

CloudFormation keeps the tables and the bucket of a deleted stack, so that a mistake costs no data.
This command also deletes the tables, the bucket and the secrets, after you have typed the stage's
name. A stage that was never deployed may have secrets, too.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3

from infra.command import CommandError
from infra.stages import put_secrets
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import Stage


@command
def main(arguments: list[str]) -> None:
    """Show the resources to delete, ask for confirmation, and delete them."""
    options = parser("destroy", __doc__).parse_args(arguments)
    if options.stage == "prod":
        raise CommandError("This command does not delete prod, and prod's tables are protected.")
    for line in destroy(stages.connect(options.stage), input):
        print(line, flush=True)


def destroy(stage: Stage, ask: Callable[[str], str]) -> Iterator[str]:
    """Delete a stage with its data and secrets if `ask` returns the name; yield each step."""
    ssm = boto3.client("ssm")
    parameters = [
        f"{stage.secrets_path}/{name}" for name in sorted(put_secrets.list_stored(ssm, stage))
    ]
    is_deployed = stages.outputs(stage) is not None
    if not is_deployed and not parameters:
        raise CommandError(f"There is no stack {stage.stack} and no secret of {stage.name} here.")
    tables = tables_of(stage) if is_deployed else []
    buckets = buckets_of(stage) if is_deployed else []
    yield (
        f"This deletes the stack, {len(tables)} tables and {len(buckets)} bucket with all their "
        f"data, and {len(parameters)} secrets."
    )
    if ask(f"Type {stage.name} to confirm: ").strip() != stage.name:
        raise CommandError("Nothing was deleted.")
    if is_deployed:
        stacks = boto3.client("cloudformation")
        stacks.delete_stack(StackName=stage.stack)
        stacks.get_waiter("stack_delete_complete").wait(StackName=stage.stack)
        yield f"{stage.stack}: deleted"
    dynamodb = boto3.client("dynamodb")
    for name in tables:
        if _has_table(dynamodb, name):
            dynamodb.delete_table(TableName=name)
            yield f"{name}: deleted"
    for name in buckets:
        bucket = boto3.resource("s3").Bucket(name)
        bucket.objects.delete()
        bucket.delete()
        yield f"{name}: deleted"
    for start in range(0, len(parameters), 10):
        ssm.delete_parameters(Names=parameters[start : start + 10])
    yield f"{len(parameters)} secrets: deleted"


def tables_of(stage: Stage) -> list[str]:
    """Return the names of the stack's tables. Raises CommandError if there is no stack."""
    return sorted(stages.resources(stage, "AWS::DynamoDB::Table").values())


def buckets_of(stage: Stage) -> list[str]:
    """Return the names of the stack's buckets. Raises CommandError if there is no stack."""
    return sorted(stages.resources(stage, "AWS::S3::Bucket").values())


def _has_table(dynamodb: Any, table: str) -> bool:
    try:
        dynamodb.describe_table(TableName=table)
    except dynamodb.exceptions.ResourceNotFoundException:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
