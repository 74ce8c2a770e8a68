"""What the functions logged, and how they crashed, as a person reads it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local.cloud.stack import Stack
from infra.paths import LocalError

FRAME = re.compile(r"(START|END|REPORT) RequestId: ")
"""Lines that Lambda writes around an invocation's own."""

METRICS = '"CloudWatchMetrics"'
"""Part of a line that only carries metrics."""

PAGE = 10_000
"""Entries that MiniStack gives at once where there are more."""

CRASH = re.compile(r"(?m)^(?P<at>\S+ \S+) (?P<level>ERROR|WARNING) \[lambda\w*\] (?P<message>.*)")
"""Lines of MiniStack's about a function that did not start, raised or took too long."""

SHOWN_APART = {"timestamp", "level", "message", "service", "exception", "stack_trace"}


@dataclass(frozen=True, order=True)
class Line:
    """One entry of a log, and the name of the function it is about."""

    at: datetime
    text: str
    function: str


def lines(stack: Stack, function: str | None, count: int) -> list[str]:
    """Return the newest entries, oldest first, of one function where its logical id is given.

    Raises LocalError where there is no such function.
    """
    if function and function not in stack.functions:
        known = ", ".join(sorted(stack.functions))
        raise LocalError(f"There is no function {function}. There are: {known}")
    wanted = stack.functions[function] if function else ""
    found = [*_logged(stack), *_crashes(Path(stack.logs) / "ministack.log")]
    newest = [line for line in sorted(found) if wanted in line.function][-count:]
    return [f"{line.at:%H:%M:%S} {line.text}" for line in newest]


def entries(stack: Stack) -> Iterator[tuple[datetime, str]]:
    """Give everything in the stack's log groups as it is, with its time, stream by stream.

    MiniStack's FilterLogEvents ends after the first 10,000 entries, so each stream is read instead;
    it makes one an invocation, so for a stream that ends on its first page there is one call.
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
    """Give what the functions logged."""
    for at, message in entries(stack):
        if not FRAME.match(message) and METRICS not in message:
            yield _line(at, message)


def _crashes(log: Path) -> Iterator[Line]:
    """Give what MiniStack says of functions that did not end well."""
    for found in CRASH.finditer(log.read_text(errors="replace")):
        at = datetime.strptime(found["at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        yield Line(at, f"{found['level']:7} {found['message']}", found["message"])


def _line(at: datetime, message: str) -> Line:
    try:
        fields: dict[str, Any] = json.loads(message)
        function = str(fields.get("function_name", ""))
    except (ValueError, AttributeError):
        return Line(at, message.rstrip(), "")
    rest = " ".join(f"{key}={value}" for key, value in fields.items() if key not in SHOWN_APART)
    text = f"{fields.get('level', ''):7} {fields.get('message', '')} {rest}".rstrip()
    traceback = str(fields.get("exception", "")).splitlines()
    return Line(at, "\n    ".join([text, *traceback]), function)
