"""The functions' log entries, formatted for a person."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

FRAME = re.compile(r"(START|END|REPORT) RequestId: ")
"""The beginnings of lines that Lambda writes before and after an invocation."""

METRICS = '"CloudWatchMetrics"'
"""A string that marks a line with metrics and nothing else."""

SHOWN_SEPARATELY = {"timestamp", "level", "message", "service", "exception", "stack_trace"}


@dataclass(frozen=True, order=True)
class Line:
    """One log entry, and the name of its function."""

    at: datetime
    text: str
    function: str


def parse(entries: Iterable[tuple[datetime, str]]) -> Iterator[Line]:
    """Yield the entries that functions wrote, without metrics and without Lambda's lines."""
    for at, message in entries:
        if not FRAME.match(message) and METRICS not in message:
            yield _line(at, message)


def newest(lines: Iterable[Line], function: str, count: int) -> list[str]:
    """Return the newest lines, oldest first, of functions with `function` in their name."""
    found = [line for line in sorted(lines) if function in line.function]
    return [f"{line.at:%H:%M:%S} {line.text}" for line in found[-count:]]


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
