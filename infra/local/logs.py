"""The log lines and crashes of a local stack's functions."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from infra.command import function_named
from infra.log_lines import Line, newest, parse
from infra.running import Stack

PAGE = 10_000
"""The most entries that MiniStack returns at a time."""

CRASH = re.compile(r"(?m)^(?P<at>\S+ \S+) (?P<level>ERROR|WARNING) \[lambda\w*\] (?P<message>.*)")
"""MiniStack's lines about a function that did not start, raised or timed out."""


def lines(stack: Stack, function: str | None, count: int) -> list[str]:
    """Return the newest entries, oldest first, of all functions or of a logical id.

    Raises CommandError if there is no such function.
    """
    name = function_named(function, stack.functions) if function else ""
    crashes = _crashes(Path(stack.logs) / "ministack.log")
    return newest([*parse(entries(stack)), *crashes], name, count)


def entries(stack: Stack) -> Iterator[tuple[datetime, str]]:
    """Yield every entry of the stack's log groups with its time, stream by stream.

    MiniStack's FilterLogEvents ends after the first 10,000 entries, so each stream is read instead.
    There is one stream per invocation, so the second page is requested only after a full one.
    """
    client = stack.aws.client("logs")
    for group in stack.log_groups.values():
        for page in client.get_paginator("describe_log_streams").paginate(logGroupName=group):
            for stream in page["logStreams"]:
                where = {"logGroupName": group, "logStreamName": stream["logStreamName"]}
                token: dict[str, str] = {}
                while read := client.get_log_events(**where, startFromHead=True, **token):
                    for event in read["events"]:
                        at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                        yield at, event["message"]
                    if len(read["events"]) < PAGE:
                        break
                    token = {"nextToken": read["nextForwardToken"]}


def _crashes(log: Path) -> Iterator[Line]:
    """Yield MiniStack's entries about functions that failed."""
    for found in CRASH.finditer(log.read_text(errors="replace")):
        at = datetime.strptime(found["at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        yield Line(at, f"{found['level']:7} {found['message']}", found["message"])
