"""Show the newest log lines of a stage on AWS: `make logs STAGE=dev FN=ChatroomCreate`."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import boto3

from infra import log_lines
from infra.command import get_function_name
from infra.stages import stage as stages
from infra.stages.command import command, parser
from infra.stages.stage import Stage


@command
def main(arguments: list[str]) -> None:
    """Print the newest log lines of a stage, oldest first."""
    known = parser("logs", __doc__)
    known.add_argument("function", nargs="?", help="logical id of a function (default: all)")
    known.add_argument(
        "-n", type=int, default=50, metavar="LINES", help="number of log lines (default: 50)"
    )
    known.add_argument("--minutes", type=int, default=15, help="minutes to look back (default: 15)")
    options = known.parse_args(arguments)
    stage = stages.connect(options.stage)
    functions = stages.resources(stage, "AWS::Lambda::Function")
    name = get_function_name(options.function, functions) if options.function else ""
    since = datetime.now(UTC) - timedelta(minutes=options.minutes)
    for line in log_lines.newest(log_lines.parse(entries(stage, since)), name, options.n):
        print(line)


def entries(stage: Stage, since: datetime) -> Iterator[tuple[datetime, str]]:
    """Yield every entry of the stage's log groups since a moment. Raises CommandError."""
    pages = boto3.client("logs").get_paginator("filter_log_events")
    for group in stages.resources(stage, "AWS::Logs::LogGroup").values():
        start = round(since.timestamp() * 1000)
        for page in pages.paginate(logGroupName=group, startTime=start):
            for event in page["events"]:
                yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
