"""Compare every paying user with Stripe now, not only at night: `make reconcile`.

It has the stage's own function do it, with that function's grants and secrets, and says what
changed for whom. Safe to run at any time, and as often as one likes.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra import stages
from infra.local import stack
from infra.local.home import TOOLS, Home, LocalError

FUNCTION = "SubscriptionReconcile"
PATIENT = Config(read_timeout=910, retries={"total_max_attempts": 1})
"""Longer than the function may take; to ask again would only run it twice."""


def main(arguments: list[str]) -> int:
    """Reconcile a stage and say what changed; return the exit status."""
    parser = argparse.ArgumentParser(prog="make reconcile", description=__doc__)
    parser.add_argument("stage", help="local for what `make up` runs, else a stage on AWS")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be mended")
    parser.add_argument("--home", type=Path, default=TOOLS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        local = options.stage == "local"
        functions, name = _local(Home(options.home)) if local else _on_aws(options.stage)
        answer = functions.invoke(
            FunctionName=name,
            Qualifier="live",
            Payload=json.dumps({"dryRun": options.dry_run}),
        )
    except (LocalError, stages.StageError, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1
    said = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        print(f"{said.get('errorMessage')}\nSee the function's log.", file=sys.stderr)
        return 1
    for line in told(said, dry_run=options.dry_run):
        print(line)
    return 0


def told(said: dict[str, Any], *, dry_run: bool) -> list[str]:
    """Return what the function said, for a person: a line a change, and the counts."""
    mended, twice = said["mended"], said["twice"]
    lines = list(said["changes"])
    if len(lines) < mended:
        lines.append(f"… and {mended - len(lines)} more, see the function's log")
    if twice:
        lines.append(f"{twice} pay twice: see `user pays twice` in the function's log.")
    would = "would be mended; nothing was changed" if dry_run else "mended"
    return [*lines, f"{said['compared']} compared with Stripe, {mended} {would}."]


def _local(home: Home) -> tuple[Any, str]:
    running = stack.running(home)
    functions = boto3.client(
        "lambda",
        endpoint_url=running.aws.endpoint_url,
        region_name=running.aws.region,
        aws_access_key_id=running.aws.access_key_id,
        aws_secret_access_key=running.aws.secret_access_key,
        config=PATIENT,
    )
    return functions, running.functions[FUNCTION]


def _on_aws(name: str) -> tuple[Any, str]:
    stage = stages.read(name)
    print(f"{stage.stack} in {stages.account()}")
    described = boto3.client("cloudformation").describe_stack_resource(
        StackName=stage.stack, LogicalResourceId=FUNCTION
    )
    function = described["StackResourceDetail"]["PhysicalResourceId"]
    return boto3.client("lambda", config=PATIENT), function


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
