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
    """Say whether a line names the function that wrote it."""
    try:
        return bool(json.loads(message).get("function_name") == function)
    except (ValueError, AttributeError):
        return function in message


def _shown(event: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    return f"{at:%H:%M:%S} {event['message'].rstrip()}"
