"""The functions' log lines and crashes, formatted for a person."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.running import Stack

FRAME = re.compile(r"(START|END|REPORT) RequestId: ")
"""The lines that Lambda writes before and after an invocation."""

METRICS = '"CloudWatchMetrics"'
"""A part of lines that only contain metrics."""

PAGE = 10_000
"""The most entries that MiniStack returns at a time."""

CRASH = re.compile(r"(?m)^(?P<at>\S+ \S+) (?P<level>ERROR|WARNING) \[lambda\w*\] (?P<message>.*)")
"""MiniStack's lines about a function that did not start, raised or timed out."""

SHOWN_SEPARATELY = {"timestamp", "level", "message", "service", "exception", "stack_trace"}


@dataclass(frozen=True, order=True)
class Line:
    """One log entry, and the name of its function."""

    at: datetime
    text: str
    function: str


def lines(stack: Stack, function: str | None, count: int) -> list[str]:
    """Return the newest entries, oldest first, of all functions or of a logical id.

    Raises CommandError if there is no such function.
    """
    name = stack.function(function) if function else ""
    found = [*_logged(stack), *_crashes(Path(stack.logs) / "ministack.log")]
    newest = [line for line in sorted(found) if name in line.function][-count:]
    return [f"{line.at:%H:%M:%S} {line.text}" for line in newest]


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


def _logged(stack: Stack) -> Iterator[Line]:
    """Yield the functions' own entries."""
    for at, message in entries(stack):
        if not FRAME.match(message) and METRICS not in message:
            yield _line(at, message)


def _crashes(log: Path) -> Iterator[Line]:
    """Yield MiniStack's entries about functions that failed."""
    for found in CRASH.finditer(log.read_text(errors="replace")):
        at = datetime.strptime(found["at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        yield Line(at, f"{found['level']:7} {found['message']}", found["message"])


def _line(at: datetime, message: str) -> Line:
    try:
        fields: dict[str, Any] = json.loads(message)
        function = str(fields.get("function_name", ""))
    except (ValueError, AttributeError):
        return Line(at, message.rstrip(), "")
    rest = " ".join(
        f"{key}={value}" for key, value in fields.items() if key not in SHOWN_SEPARATELY
    )
    text = f"{fields.get('level', ''):7} {fields.get('message', '')} {rest}".rstrip()
    traceback = str(fields.get("exception", "")).splitlines()
    return Line(at, "\n    ".join([text, *traceback]), function)
