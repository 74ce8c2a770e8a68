"""What stands between a caller and a handler: API Gateway, the queue's poller, Lambda's runtime."""

import base64
import importlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import boto3

from geminichat.api import PROBLEM_TYPE
from tests.support import declared_errors, document, grants
from tests.support.http_api import Client, Reply
from tests.support.template import FUNCTIONS, TEMPLATE, folder_of, routes_of

type Event = dict[str, Any]

SOURCE = "203.0.113.7"
"""The address that requests come from unless they name another one."""


@dataclass
class Context:
    """The runtime's context: what a handler may ask about its own invocation."""

    function_name: str
    seconds: float = 30.0
    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    memory_limit_in_mb: int = 512
    _began: float = field(default_factory=time.monotonic)

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN."""
        return f"arn:aws:lambda:us-east-1:000000000000:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left before the function times out."""
        return max(0, int((self._began + self.seconds - time.monotonic()) * 1000))


def handler_of(function: str) -> Callable[[Event, Context], Any]:
    """Return the handler that the template deploys under a logical id."""
    module = importlib.import_module(f"functions.{folder_of(function)}.app")
    handler: Callable[[Event, Context], Any] = module.handler
    return handler


def invoke(function: str, event: Event, *, seconds: float | None = None) -> Any:
    """Run a function's handler on an event, within the time-out that the template gives it."""
    grants.note_invocation(function)
    timeout = FUNCTIONS[function].get("Timeout", TEMPLATE["Globals"]["Function"]["Timeout"])
    return handler_of(function)(event, Context(function, timeout if seconds is None else seconds))


class Api(Client):
    """API Gateway's part: the template's route that fits, the event, the handler, the answer."""

    def __init__(self) -> None:
        """Take the routes from the template; one without parameters goes before one with."""
        routes = [(route, function) for function in FUNCTIONS for route in routes_of(function)]
        self.source = SOURCE
        """The address that requests come from unless they name another."""
        self._routes = sorted(routes, key=lambda route: route[0].count("{"))

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        at: datetime | None = None,
        source: str | None = None,
    ) -> Reply:
        """Send a request; `at` is when the gateway got it. Text goes as it is, bytes in base64.

        Every answer must be as the OpenAPI document says.
        """
        event = http_event(
            method,
            url,
            json=json,
            body=body,
            token=token,
            headers=headers or {},
            at=at,
            source=source or self.source,
        )
        for route, function in self._routes:
            verb, path = route.split(" ")
            pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
            found = re.fullmatch(pattern, event["rawPath"])
            if verb == method and found:
                event["routeKey"] = event["requestContext"]["routeKey"] = route
                if found.groupdict():
                    event["pathParameters"] = found.groupdict()
                reply = reply_of(invoke(function, event))
                document.check(verb, event["rawPath"], reply.status, reply.headers, reply.text)
                if reply.headers.get("content-type") == "application/problem+json":
                    declared_errors.note(route, reply.json["type"].removeprefix(PROBLEM_TYPE))
                return reply
        return Reply(404, {"content-type": "application/json"}, '{"message":"Not Found"}')


def http_event(
    method: str,
    url: str,
    *,
    json: Any = None,
    body: bytes | None = None,
    token: str | None = None,
    headers: Mapping[str, str],
    at: datetime | None = None,
    source: str = SOURCE,
) -> Event:
    """Return API Gateway's event for a request (payload 2.0), its route still to be found."""
    parts = urlsplit(url)
    sent = {"host": "api.example", "user-agent": "tests"}
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    raw = body if json is None else _dumps(json)
    if raw is not None:
        sent["content-type"] = "application/json"
        sent["content-length"] = str(len(raw))
    sent |= {name.lower(): value for name, value in headers.items()}
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
        several: dict[str, list[str]] = {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            several.setdefault(name, []).append(value)
        event["queryStringParameters"] = {name: ",".join(all_) for name, all_ in several.items()}
    if raw is not None:
        try:
            event["body"] = raw.decode()
        except UnicodeDecodeError:
            event["body"] = base64.b64encode(raw).decode()
            event["isBase64Encoded"] = True
    return event


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def reply_of(answer: Any) -> Reply:
    """Read a handler's answer as API Gateway does."""
    body = answer.get("body") or ""
    if answer.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
    return Reply(int(answer["statusCode"]), headers, body)


@dataclass(frozen=True)
class Batch:
    """What one poll brought: message bodies, and the ids of those that are to come again."""

    bodies: Sequence[str]
    failed: Sequence[str]


class Poller:
    """Lambda's poller of a queue: messages that are not reported as failed are deleted."""

    def __init__(self, queue_url: str, function: str, batch_size: int = 10) -> None:
        """Poll the queue for the function."""
        self._sqs = boto3.client("sqs")
        self._url = queue_url
        self._function = function
        self._size = batch_size
        self._in_flight: dict[str, str] = {}

    def poll(self, *, wait: int = 0, seconds: float | None = None) -> Batch:
        """Receive one batch, wait up to `wait` seconds for it, and have the function handle it."""
        received = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self._size,
            WaitTimeSeconds=wait,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = received.get("Messages", [])
        if not messages:
            return Batch([], [])
        event = {
            "Records": [
                {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": message.get("Attributes", {}),
                    "messageAttributes": {},
                    "eventSource": "aws:sqs",
                    "awsRegion": "us-east-1",
                }
                for message in messages
            ]
        }
        handles = {message["MessageId"]: message["ReceiptHandle"] for message in messages}
        self._in_flight |= handles
        answer = invoke(self._function, event, seconds=seconds) or {}
        failed = [item["itemIdentifier"] for item in answer.get("batchItemFailures", [])]
        for message_id, handle in handles.items():
            if message_id not in failed:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=handle)
                del self._in_flight[message_id]
        return Batch([message["Body"] for message in messages], failed)

    def redeliver(self) -> None:
        """End every visibility timeout, so that received messages can be received again."""
        for handle in self._in_flight.values():
            self._sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=handle, VisibilityTimeout=0
            )
        self._in_flight.clear()

    def drain(self, *, polls: int = 20) -> None:
        """Poll until nothing is left that may be received now."""
        for _ in range(polls):
            if not self.poll().bodies:
                return
        raise AssertionError(f"{self._function} still has messages after {polls} polls")
