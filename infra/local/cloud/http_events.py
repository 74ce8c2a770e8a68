"""API Gateway's event for an HTTP request (payload 2.0)."""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

type Event = dict[str, Any]

SOURCE = "203.0.113.7"
"""The client's IP address in every event; RFC 5737 reserves it for documentation."""


def http_event(
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str],
    at: datetime | None = None,
    source: str = SOURCE,
) -> Event:
    """Return a request's event, without a route; header names are in lower case."""
    parts = urlsplit(url)
    sent = {"host": "api.example", "user-agent": "curl/8"}
    if body is not None:
        sent["content-length"] = str(len(body))
    sent |= headers
    moment = at or datetime.now(UTC)
    event: Event = {
        "version": "2.0",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": sent,
        "requestContext": {
            "accountId": "000000000000",
            "requestId": uuid4().hex,
            "stage": "$default",
            "time": moment.strftime("%d/%b/%Y:%H:%M:%S %z"),
            "timeEpoch": round(moment.timestamp() * 1000),
            "http": {
                "method": method,
                "path": parts.path,
                "protocol": "HTTP/1.1",
                "sourceIp": source,
                "userAgent": sent["user-agent"],
            },
        },
        "isBase64Encoded": False,
    }
    if parts.query:
        values: dict[str, list[str]] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            values.setdefault(name, []).append(value)
        event["queryStringParameters"] = {name: ",".join(each) for name, each in values.items()}
    if body is not None:
        try:
            event["body"] = body.decode()
        except UnicodeDecodeError:
            event["body"] = base64.b64encode(body).decode()
            event["isBase64Encoded"] = True
    return event


def set_route(event: Event, route: str) -> bool:
    """Set the route of an event, such as "GET /chatroom/{id}"; return whether the route matches."""
    method, path = route.split(" ")
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
    found = re.fullmatch(pattern, event["rawPath"])
    if not found or event["requestContext"]["http"]["method"] != method:
        return False
    event["routeKey"] = event["requestContext"]["routeKey"] = route
    if found.groupdict():
        event["pathParameters"] = found.groupdict()
    return True
