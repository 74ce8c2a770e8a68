"""The log entries and the crashes of a local stack's functions."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from infra.command import get_function_name
from infra.log_lines import Line, newest, parse
from infra.running import Stack

PAGE = 10_000
"""The most entries that MiniStack returns at a time."""

CRASH = re.compile(r"(?m)^(?P<at>\S+ \S+) (?P<level>ERROR|WARNING) \[lambda\w*\] (?P<message>.*)")
"""MiniStack's lines about a function that did not start, raised or timed out."""


def lines(stack: Stack, function: str | None, count: int) -> list[str]:
    """Return the newest entries of one function (a logical id) or of all, oldest first.

    Raises CommandError if no function has this logical id.
    """
    name = get_function_name(function, stack.functions) if function else ""
    crashes = _crashes(Path(stack.logs) / "ministack.log")
    return newest([*parse(entries(stack)), *crashes], name, count)


def entries(stack: Stack) -> Iterator[tuple[datetime, str]]:
    """Yield every log entry of the stack with its time, group by group, oldest first.

    MiniStack's FilterLogEvents has no second page, so the next request starts with the millisecond
    of the last entry. A full answer therefore yields only the entries before that millisecond.
    """
    client = stack.aws.client("logs")
    for group in stack.log_groups.values():
        start, is_full = 0, True
        while is_full:
            events = client.filter_log_events(logGroupName=group, startTime=start)["events"]
            if is_full := len(events) == PAGE:
                start = events[-1]["timestamp"]
            for event in events:
                if not is_full or event["timestamp"] < start:
                    yield datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"]


def _crashes(log: Path) -> Iterator[Line]:
    """Yield MiniStack's entries about functions that failed."""
    for found in CRASH.finditer(log.read_text(errors="replace")):
        at = datetime.strptime(found["at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        yield Line(at, f"{found['level']:7} {found['message']}", found["message"])
