"""What goes over the wire to AWS: every call seen, and broken where a test asks for it.

It stands where `aws_client` hands a signed request to HTTP, which is a place made for it.
Calls are named by service and operation: "dynamodb.UpdateItem", "sqs.SendMessage".
"""

import functools
import json
import random
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any
from uuid import uuid4

from geminichat.runtime import aws_client
from geminichat.runtime.http_client import Answer, RequestFailed, TimedOut
from tests.support import grants

ALWAYS = 1_000_000

SHORT_PAUSES = 358_411
"""A seed by which the pause before a second try is next to nothing."""


class Died(BaseException):
    """The process was killed at this point."""


@dataclass
class Break:
    """How a call is to go wrong: the `nth` one that fits, and `times` from then on."""

    call: str
    how: str
    nth: int = 1
    times: int = 1
    do: Callable[[], object] | None = None
    """What happens meanwhile."""
    holding: tuple[str, ...] = ("",)
    """Texts of which the request's body has to hold one."""
    seen: int = 0
    happened: int = 0


@dataclass(frozen=True)
class Request:
    """One try as it is about to be sent."""

    call: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    connect: float
    read: float
    idle: float

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Seen:
    """One try of one call."""

    call: str
    body: str
    attempt: int
    answer: dict[str, Any] = field(default_factory=dict)


class Wire:
    """The calls of the code under test, in order, and the breaks that are still to come."""

    def __init__(self) -> None:
        """Stand in the way of every call from now on."""
        self._lock = Lock()
        self._direct = aws_client.transport
        self._late: list[Request] = []
        self.edits: dict[str, Callable[[dict[str, Any]], None]] = {}
        self.breaks: list[Break] = []
        self.tries: list[Seen] = []
        aws_client.transport = self._transport

    def reset(self) -> None:
        """Forget what was seen and what was still to break."""
        self.breaks, self.tries, self._late, self.edits = [], [], [], {}

    def cut(self, call: str, how: str, **more: Any) -> Break:
        """Have a call go wrong: see `_break` for the ways."""
        one = Break(call, how, **more)
        self.breaks.append(one)
        return one

    def edit(self, call: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Have every answer to a call changed before our code sees it."""
        self.edits[call] = change

    def calls(self, *about_nobody: str, about: tuple[str, ...] = ("",)) -> list[str]:
        """Return the calls made so far, in order, second tries left out.

        With `about`, only those whose bodies hold one of these texts, or are about nobody.
        """
        return [
            seen.call
            for seen in self.tries
            if seen.attempt == 1
            and (seen.call in about_nobody or any(text in seen.body for text in about))
        ]

    @contextmanager
    def watched(self) -> Iterator[list[Seen]]:
        """Give the list that the block's tries are noted in."""
        before, self.tries = self.tries, []
        try:
            yield self.tries
        finally:
            self.tries = before + self.tries

    def deliver_late(self) -> None:
        """Deliver the requests that their senders have given up on."""
        late, self._late = self._late, []
        for request in late:
            self._send(request)

    def _transport(
        self,
        call: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        connect: float,
        read: float,
        idle: float,
    ) -> Answer:
        request = Request(call, url, headers, body, connect, read, idle)
        attempt = int(headers["amz-sdk-request"].partition("attempt=")[2][:1])
        seen = Seen(call, request.text, attempt)
        with self._lock:
            self.tries.append(seen)
            grants.note(call, body)
            broken = self._pick(call, request.text)
        answer = self._break(broken, request) if broken else self._send(request)
        seen.answer = json.loads(answer.body) if answer.body[:1] == b"{" else {}
        if change := self.edits.get(call):
            change(seen.answer)
            answer = answer._replace(body=json.dumps(seen.answer).encode())
        return answer

    def _send(self, request: Request) -> Answer:
        return self._direct(
            request.call,
            request.url,
            request.headers,
            request.body,
            request.connect,
            request.read,
            request.idle,
        )

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
        if one.how != "conflict":
            random.seed(SHORT_PAUSES)
        match one.how:
            case "meanwhile":  # something else happens first, then all goes well
                assert one.do
                one.do()
                return self._send(request)
            case "refused":  # fails before its effect
                raise RequestFailed(one.how)
            case "lost":  # takes effect, the answer never comes
                self._send(request)
                raise RequestFailed(one.how)
            case "late":  # times out, and takes effect when nobody waits for it any more
                self._late.append(request)
                raise TimedOut(one.how)
            case "dies before":
                raise Died()
            case "dies after":
                self._send(request)
                raise Died()
            case "silent":  # the connection stands and nothing ever comes
                return self._send(replace(request, url=silence()))
            case "failing":
                return _answer(500, "InternalServerError")
            case "throttled":
                return _answer(400, "ThrottlingException")
            case "conflict":
                return _conflict(request)
        raise AssertionError(f"no such way to break: {one.how}")


@functools.cache
def silence() -> str:
    """Return the URL of a server that takes connections and never says anything."""
    return f"http://127.0.0.1:{_silent_server().getsockname()[1]}/"


@functools.cache
def _silent_server() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=1_000)


def _conflict(request: Request) -> Answer:
    """Answer as DynamoDB does when another transaction holds an item; MiniStack never does."""
    if not request.call.endswith(".TransactWriteItems"):
        return _answer(400, "TransactionConflictException")
    return _answer(
        400,
        "TransactionCanceledException",
        ', "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict", '
        '"Message": "Transaction is ongoing for the item"}]',
    )


def _answer(status: int, code: str, more: str = "") -> Answer:
    body = f'{{"__type": "com.amazonaws.dynamodb.v20120810#{code}", "message": "as told"{more}}}'
    return Answer(status, {"x-amzn-requestid": uuid4().hex}, body.encode())


WIRE = Wire()
