"""What the functions logged, from the emulated CloudWatch Logs."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3

from infra.local.home import LocalError
from infra.local.stack import Stack

FRAME = re.compile(r"(START|END|REPORT) RequestId: ")
"""Lines that Lambda writes around an invocation's own."""

SHOWN_APART = {"timestamp", "level", "message", "service", "exception", "stack_trace"}


def lines(stack: Stack, function: str | None, count: int) -> list[str]:
    """Return the newest log lines, oldest first, of one function where its logical id is given.

    Raises LocalError where there is no such function.
    """
    if function and function not in stack.functions:
        known = ", ".join(sorted(stack.functions))
        raise LocalError(f"There is no function {function}. There are: {known}")
    name = stack.functions.get(function or "")
    events = sorted(_events(stack), key=lambda event: event["timestamp"])
    wanted = [event for event in events if not name or _is_of(event["message"], name)]
    return [_shown(event) for event in wanted[-count:]]


def _events(stack: Stack) -> Iterator[dict[str, Any]]:
    client = boto3.client(
        "logs",
        endpoint_url=stack.aws.endpoint_url,
        region_name=stack.aws.region,
        aws_access_key_id=stack.aws.access_key_id,
        aws_secret_access_key=stack.aws.secret_access_key,
    )
    for group in stack.log_groups.values():
        for page in client.get_paginator("filter_log_events").paginate(logGroupName=group):
            for event in page["events"]:
                if not FRAME.match(event["message"]):
                    yield dict(event)


def _is_of(message: str, function: str) -> bool:
    return bool(_parsed(message).get("function_name") == function)


def _shown(event: dict[str, Any]) -> str:
    """Return a line as a person reads it; the traceback, if any, below."""
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    parsed = _parsed(event["message"])
    if not parsed:
        return f"{at:%H:%M:%S} {event['message'].rstrip()}"
    traceback = str(parsed.get("exception", ""))
    rest = {name: value for name, value in parsed.items() if name not in SHOWN_APART}
    fields = " ".join(f"{name}={value}" for name, value in rest.items())
    line = f"{at:%H:%M:%S} {parsed.get('level', ''):7} {parsed.get('message', '')} {fields}"
    return line.rstrip() + "".join(f"\n    {text}" for text in traceback.splitlines())


def _parsed(message: str) -> dict[str, Any]:
    """Return a structured line's fields, or nothing for another line."""
    try:
        parsed = json.loads(message)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
