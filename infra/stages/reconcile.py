"""Compare every paying user with Stripe now, not only at night: `make reconcile`.

It has the stage's own function do it, with that function's grants and secrets, and says what
changed for whom. Safe to run at any time, and as often as one likes.
"""

import json
import sys
from typing import Any

import boto3
from botocore.config import Config

from infra.local.cloud import stack
from infra.paths import Home
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import StageError

FUNCTION = "SubscriptionReconcile"
PATIENT = Config(read_timeout=910, retries={"total_max_attempts": 1})
"""Longer than the function may take; to ask again would only run it twice."""


@command
def main(arguments: list[str]) -> None:
    """Reconcile a stage and say what changed."""
    wanted = parser("reconcile", __doc__, local=True)
    wanted.add_argument("--dry-run", action="store_true", help="only say what would be fixed")
    options = wanted.parse_args(arguments)
    local = options.stage == "local"
    functions, name = _local(Home(options.home)) if local else _on_aws(options.stage)
    answer = functions.invoke(
        FunctionName=name,
        Qualifier="live",
        Payload=json.dumps({"dryRun": options.dry_run}),
    )
    said = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise StageError(f"{said.get('errorMessage')}\nSee the function's log.")
    for line in told(said, dry_run=options.dry_run):
        print(line)


def told(said: dict[str, Any], *, dry_run: bool) -> list[str]:
    """Return what the function said, for a person: a line a change, and the counts."""
    fixed, twice = said["fixed"], said["twice"]
    lines = list(said["changes"])
    if len(lines) < fixed:
        lines.append(f"… and {fixed - len(lines)} more, see the function's log")
    if twice:
        lines.append(f"{twice} pay twice: see `user pays twice` in the function's log.")
    would = "would be fixed; nothing was changed" if dry_run else "fixed"
    return [*lines, f"{said['compared']} compared with Stripe, {fixed} {would}."]


def _local(home: Home) -> tuple[Any, str]:
    running = stack.running(home)
    return running.aws.client("lambda", PATIENT), running.functions[FUNCTION]


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
