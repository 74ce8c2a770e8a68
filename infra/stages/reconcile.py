"""Compare every subscription with Stripe now, instead of at night: `make reconcile`.

The command invokes the stage's function SubscriptionReconcile, which has the necessary grants and
secrets. It prints each change with the user's id. You may run the command at any time, and
repeatedly.
"""

import json
import sys
from typing import Any

import boto3
from botocore.config import Config

from infra.command import CommandError
from infra.stages import stage as stages
from infra.stages.command import command, parser

FUNCTION = "SubscriptionReconcile"
PATIENT = Config(read_timeout=910, retries={"total_max_attempts": 1})
"""A read timeout longer than the function's timeout. A retry would run the function twice."""


@command
def main(arguments: list[str]) -> None:
    """Compare a stage's subscriptions with Stripe, and print each change."""
    known = parser("reconcile", __doc__, local=True)
    known.add_argument("--dry-run", action="store_true", help="only print what would change")
    options = known.parse_args(arguments)
    stage = stages.connect(options.stage, options.data_folder)
    answer = boto3.client("lambda", config=PATIENT).invoke(
        FunctionName=stages.resources(stage, "AWS::Lambda::Function")[FUNCTION],
        Qualifier="live",
        Payload=json.dumps({"dryRun": options.dry_run}),
    )
    result = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise CommandError(f"{result.get('errorMessage')}\nThe function's log has the details.")
    for line in report(result, dry_run=options.dry_run):
        print(line)


def report(result: dict[str, Any], *, dry_run: bool) -> list[str]:
    """Return the function's result as lines: one per change, then the counts."""
    changed, twice = result["fixed"], result["twice"]
    lines = list(result["changes"])
    if len(lines) < changed:
        lines.append(f"… and {changed - len(lines)} more; the function's log has all changes")
    if twice:
        lines.append(f"{twice} users pay twice: find `user pays twice` in the function's log.")
    counted = "would be fixed; nothing was changed" if dry_run else "fixed"
    return [*lines, f"{result['compared']} compared with Stripe, {changed} {counted}."]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
