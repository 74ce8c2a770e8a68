"""API Gateway, the poller of a queue and Lambda's runtime, in the test's process."""

import base64
import importlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import boto3

from geminichat.errors import PROBLEM_TYPE
from infra.local.cloud.http_events import SOURCE, Event, http_event, set_route
from tests.support import declared_errors, document, grants
from tests.support.http_api import Client, Reply, Request
from tests.support.template import FUNCTIONS, TEMPLATE, folder_of, routes_of


@dataclass
class Context:
    """The context that the runtime passes to a handler."""

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
    """Return a function's handler, by its logical id in the template."""
    module = importlib.import_module(f"functions.{folder_of(function)}.app")
    handler: Callable[[Event, Context], Any] = module.handler
    return handler


def invoke(function: str, event: Event, *, seconds: float | None = None) -> Any:
    """Run a function's handler; `seconds` replaces the template's timeout."""
    grants.note_invocation(function)
    timeout = FUNCTIONS[function].get("Timeout", TEMPLATE["Globals"]["Function"]["Timeout"])
    return handler_of(function)(event, Context(function, timeout if seconds is None else seconds))


class Api(Client):
    """The API in process: selects the template's route and runs its handler.

    Every response must match the OpenAPI document.
    """

    def __init__(self) -> None:
        """Read the template's routes; routes without parameters take precedence."""
        routes = [(route, function) for function in FUNCTIONS for route in routes_of(function)]
        self.source = SOURCE
        """The IP address of requests that do not name one."""
        self._routes = sorted(routes, key=lambda route: route[0].count("{"))

    def _send(self, request: Request) -> Reply:
        method, url, body, headers, at, source = request
        source = source or self.source
        event = http_event(method, url, body=body, headers=headers, at=at, source=source)
        for route, function in self._routes:
            if not set_route(event, route):
                continue
            reply = reply_of(invoke(function, event))
            document.check(method, event["rawPath"], reply.status, reply.headers, reply.text)
            if reply.headers.get("content-type") == "application/problem+json":
                declared_errors.note(route, reply.json["type"].removeprefix(PROBLEM_TYPE))
            return reply
        return Reply(404, {"content-type": "application/json"}, '{"message":"Not Found"}')


def reply_of(answer: Any) -> Reply:
    """Return a handler's answer as API Gateway sends it."""
    body = answer.get("body") or ""
    if answer.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
    return Reply(int(answer["statusCode"]), headers, body)


@dataclass(frozen=True)
class Batch:
    """The result of one poll: message bodies, and the ids of the messages reported as failed."""

    bodies: Sequence[str]
    failed: Sequence[str]


POLLS = 20
"""The most batches that `Poller.drain` receives."""


class Poller:
    """Lambda's poller of queues, which deletes messages that are not reported as failed."""

    def __init__(self, queue_urls: Sequence[str], function: str, batch_size: int = 10) -> None:
        """Create a poller of these queues for the function."""
        self._sqs = boto3.client("sqs")
        self._urls = queue_urls
        self._function = function
        self._size = batch_size
        self._in_flight: dict[str, tuple[str, str]] = {}
        """The queue and the receipt handle of each received message by its id."""

    def poll(self, *, seconds: float | None = None) -> Batch:
        """Receive one batch, and invoke the function with it.

        The batch comes from the first queue that has a message.
        """
        for url in self._urls:
            received = self._sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=self._size,
                WaitTimeSeconds=0,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            if messages := received.get("Messages", []):
                break
        else:
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
                    "eventSourceARN": f"arn:aws:sqs:us-east-1:0:{url.rpartition('/')[2]}",
                    "awsRegion": "us-east-1",
                }
                for message in messages
            ]
        }
        handles = {message["MessageId"]: message["ReceiptHandle"] for message in messages}
        self._in_flight |= {message_id: (url, handle) for message_id, handle in handles.items()}
        answer = invoke(self._function, event, seconds=seconds) or {}
        failed = [item["itemIdentifier"] for item in answer.get("batchItemFailures", [])]
        for message_id, handle in handles.items():
            if message_id not in failed:
                with suppress(self._sqs.exceptions.ReceiptHandleIsInvalid):  # deleted by the worker
                    self._sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
                del self._in_flight[message_id]
        return Batch([message["Body"] for message in messages], failed)

    def redeliver(self) -> None:
        """End every visibility timeout, so that received messages are delivered again."""
        for url, handle in self._in_flight.values():
            with suppress(self._sqs.exceptions.ReceiptHandleIsInvalid):
                self._sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0
                )
        self._in_flight.clear()

    def drain(self) -> None:
        """Poll until no message is visible."""
        for _ in range(POLLS):
            if not self.poll().bodies:
                return
        raise AssertionError(f"{self._function} still has messages after {POLLS} polls")
