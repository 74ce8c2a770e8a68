"""Record the calls to AWS, and make calls fail on demand.

`Wire` replaces `aws_client.transport`, through which every signed request is sent.
Calls are named by service and operation: "dynamodb.UpdateItem", "sqs.SendMessage".
"""

import functools
import json
import random
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple, cast
from uuid import uuid4

from geminichat.runtime import aws_client
from geminichat.runtime.http_client import Answer, RequestFailed, TimedOut
from tests.support import grants
from tests.support.cloud import DYNAMODB_LOCAL

ALWAYS = 1_000_000

GET, BATCH_GET, QUERY = "dynamodb.GetItem", "dynamodb.BatchGetItem", "dynamodb.Query"
PUT, UPDATE, DELETE = "dynamodb.PutItem", "dynamodb.UpdateItem", "dynamodb.DeleteItem"
TRANSACT, BATCH_WRITE = "dynamodb.TransactWriteItems", "dynamodb.BatchWriteItem"
SEND, RECEIVE = "sqs.SendMessage", "sqs.ReceiveMessage"
HIDE = "sqs.ChangeMessageVisibilityBatch"
"""The call that the worker's thread `HIDES` makes at the beginning and every eight seconds."""
SECRET = "ssm.GetParameter"
"""The call that a sandbox makes once per secret, and again after minutes."""

SHORT_PAUSES = 358_411
"""A seed of `random` that makes the pause before a second try almost zero."""


HIDES = "visibility"
"""The name of the thread that hides a worker's messages, and makes its calls at any time."""


class Died(BaseException):
    """A simulated death of the process."""


@dataclass
class Break:
    """A fault for matching calls; it breaks `times` of them, from the `nth` one on."""

    call: str
    how: str
    nth: int = 1
    times: int = 1
    do: Callable[[], object] | None = None
    """The function to call for the fault "meanwhile"."""
    holding: tuple[str, ...] = ("",)
    """A matching request's body contains one of these texts."""
    seen: int = 0
    happened: int = 0


class Request(NamedTuple):
    """One try of a call: the arguments of `aws_client.transport`."""

    call: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    connect: float
    read: float
    idle: float
    method: str


@dataclass
class Seen:
    """One recorded try of a call."""

    call: str
    body: str
    attempt: int
    thread: str
    """The name of the thread that made the call."""
    answer: dict[str, Any] = field(default_factory=dict)


def list_calls(tries: Iterable[Seen]) -> list[str]:
    """Return the recorded calls without reads of secrets, which a process caches for minutes."""
    return [seen.call for seen in tries if seen.call != SECRET]


class Wire:
    """The recorded calls, in order, and the pending faults."""

    def __init__(self) -> None:
        """Intercept every call from now on."""
        self._lock = Lock()
        self._direct = aws_client.transport
        self._late: list[Request] = []
        self.edits: dict[str, Callable[[dict[str, Any]], None]] = {}
        self.copies: dict[tuple[str, str], str] = {}
        """The table's copy that answers the queries of a lagging index, by table and index."""
        self.breaks: list[Break] = []
        self.tries: list[Seen] = []
        self.has_queued = False
        """Whether a message was sent to a queue since the queues were emptied."""
        aws_client.transport = cast(Any, self._transport)

    def reset(self) -> None:
        """Delete the recorded calls and the pending faults."""
        self.breaks, self.tries, self._late, self.edits = [], [], [], {}

    def cut(self, call: str, how: str, **more: Any) -> Break:
        """Add and return a fault for a call; `_break` lists the values of `how`."""
        one = Break(call, how, **more)
        self.breaks.append(one)
        return one

    def edit(self, call: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change every answer to a call before our code receives it."""
        self.edits[call] = change

    def calls(self, *always: str, about: tuple[str, ...] = ("",)) -> list[str]:
        """Return the recorded calls in order, without retries and calls of the thread HIDES.

        With `about`, return only calls whose body contains one of these texts, and calls named in
        `always`.
        """
        return [
            seen.call
            for seen in self.tries
            if seen.attempt == 1
            and seen.thread != HIDES
            and (seen.call in always or any(text in seen.body for text in about))
        ]

    @contextmanager
    def watch(self) -> Iterator[list[Seen]]:
        """Yield a list that records the tries of calls in the block."""
        before, self.tries = self.tries, []
        try:
            yield self.tries
        finally:
            self.tries = before + self.tries

    def deliver_late(self) -> None:
        """Send the requests that were held back by the fault "late"."""
        late, self._late = self._late, []
        for request in late:
            self._direct(*request)

    def _transport(self, *arguments: Any) -> Answer:
        request = Request(*arguments)
        attempt = int(request.headers["amz-sdk-request"].partition("attempt=")[2][:1])
        text = request.body.decode(errors="replace")  # a part of an archive is not text
        seen = Seen(request.call, text, attempt, threading.current_thread().name)
        with self._lock:
            self.tries.append(seen)
            self.has_queued |= seen.call == "sqs.SendMessage"
            grants.note(request.call, request.body, request.url)
            broken = None if seen.thread == HIDES else self._pick(request.call, text)
        if self.copies and '"IndexName"' in text:
            request = self._from_copy(request)
        if (
            DYNAMODB_LOCAL and not broken
        ):  # which commits one transaction after another, each in 10 to 40 ms
            request = request._replace(read=request.read * 5)
        answer = self._break(broken, request) if broken else self._direct(*request)
        seen.answer = json.loads(answer.body) if answer.body[:1] == b"{" else {}
        if change := self.edits.get(request.call):
            change(seen.answer)
            answer = answer._replace(body=json.dumps(seen.answer).encode())
        return answer

    def _from_copy(self, request: Request) -> Request:
        asked = json.loads(request.body)
        name = asked["TableName"]
        asked["TableName"] = self.copies.get((name, asked["IndexName"]), name)
        return request._replace(body=json.dumps(asked).encode())

    def _pick(self, call: str, body: str) -> Break | None:
        for one in self.breaks:
            if one.call != call or not any(text in body for text in one.holding):
                continue
            one.seen += 1
            if one.nth <= one.seen < one.nth + one.times:
                one.happened += 1
                return one
        return None

    def _break(self, one: Break, request: Request) -> Answer:
        if one.how not in ("conflict", "over capacity"):
            random.seed(SHORT_PAUSES)
        match one.how:
            case "meanwhile":  # another action first, then success
                assert one.do
                one.do()
                return self._direct(*request)
            case "refused":  # no effect
                raise RequestFailed(one.how)
            case "lost":  # takes effect, but the answer is lost
                self._direct(*request)
                raise RequestFailed(one.how)
            case "late":  # times out, and takes effect later
                self._late.append(request)
                raise TimedOut(one.how)
            case "dies before":
                raise Died()
            case "dies after":
                self._direct(*request)
                raise Died()
            case "silent":  # the connection is open, but there is no answer
                return self._direct(*request._replace(url=silence()))
            case "failing":
                return _answer(500, "InternalServerError")
            case "throttled":
                return _answer(400, "ThrottlingException")
            case "conflict":
                return _conflict(request)
            case "over capacity":  # a transaction that DynamoDB throttles
                return _cancel("ThrottlingError")
            case "unprocessed":  # no effect
                return _process_nothing(request)
        raise AssertionError(f"unknown fault: {one.how}")


@functools.cache
def silence() -> str:
    """Return the URL of a server that accepts connections and never answers."""
    return f"http://127.0.0.1:{_silent_server().getsockname()[1]}/"


@functools.cache
def _silent_server() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=1_000)


def _conflict(request: Request) -> Answer:
    """Return DynamoDB's answer to a conflict of transactions, which MiniStack never gives."""
    if not request.call.endswith(".TransactWriteItems"):
        return _answer(400, "TransactionConflictException")
    return _cancel("TransactionConflict")


def _cancel(reason: str) -> Answer:
    """Return DynamoDB's answer to a transaction that was cancelled for this reason."""
    reasons = f'[{{"Code": "None"}}, {{"Code": "{reason}", "Message": "a fault"}}]'
    return _answer(400, "TransactionCanceledException", f', "CancellationReasons": {reasons}')


def _process_nothing(request: Request) -> Answer:
    """Return DynamoDB's answer when it processes no entry of a batch."""
    asked = json.loads(request.body)["RequestItems"]
    left = "UnprocessedKeys" if request.call.endswith(".BatchGetItem") else "UnprocessedItems"
    return Answer(200, {}, json.dumps({"Responses": {}, left: asked}).encode())


def _answer(status: int, code: str, more: str = "") -> Answer:
    body = f'{{"__type": "com.amazonaws.dynamodb.v20120810#{code}", "message": "a fault"{more}}}'
    return Answer(status, {"x-amzn-requestid": uuid4().hex}, body.encode())


WIRE = Wire()
