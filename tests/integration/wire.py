"""What goes over the wire to AWS: every call seen, and broken where a test asks for it.

It listens to botocore's own events on the one session of the code under test, so nothing of ours is
patched. Calls are named as botocore names them: "dynamodb.UpdateItem", "sqs.SendMessage".
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import uuid4

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session

from geminichat import aws

ALWAYS = 1_000_000

SHORT_PAUSES = 358_411
"""A seed by which botocore's backoff pauses for next to nothing."""


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
        """Listen from now on, to every client made later."""
        self._lock = Lock()
        self._direct = URLLib3Session()
        self._late: list[AWSPreparedRequest] = []
        self.edits: dict[str, Callable[[dict[str, Any]], None]] = {}
        self.breaks: list[Break] = []
        self.tries: list[Seen] = []
        session = aws.session()
        session.register("before-send", self._before_send)  # type: ignore[arg-type]
        session.register("after-call", self._after_call)  # type: ignore[arg-type]

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
        """Return the calls made so far, in order, botocore's own retries left out.

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
        """Let the requests arrive that their senders have given up on."""
        late, self._late = self._late, []
        for request in late:
            self._direct.send(request)

    def _before_send(
        self, request: AWSPreparedRequest, event_name: str, **_: Any
    ) -> AWSResponse | None:
        service, operation = event_name.split(".")[1:]
        call = f"{service}.{operation}"
        text = _text(request.body)
        tried = _text(request.headers.get("amz-sdk-request"))
        attempt = int(tried.partition("attempt=")[2][:1] or 1)
        with self._lock:
            self.tries.append(Seen(call, text, attempt))
            broken = self._pick(call, text)
        return self._break(broken, request) if broken else None

    def _pick(self, call: str, body: str) -> Break | None:
        for one in self.breaks:
            if one.call != call or not any(text in body for text in one.holding):
                continue
            one.seen += 1
            if one.nth <= one.seen < one.nth + one.times:
                one.happened += 1
                return one
        return None

    def _break(self, one: Break, request: AWSPreparedRequest) -> AWSResponse | None:
        if one.how != "conflict":
            random.seed(SHORT_PAUSES)
        url = str(request.url)
        match one.how:
            case "meanwhile":  # something else happens first, then all goes well
                assert one.do
                one.do()
                return None
            case "refused":  # fails before its effect
                raise ConnectionClosedError(endpoint_url=url)
            case "lost":  # takes effect, the answer never comes
                self._direct.send(request)
                raise ConnectionClosedError(endpoint_url=url)
            case "late":  # times out, and takes effect when nobody waits for it any more
                self._late.append(request)
                raise ReadTimeoutError(endpoint_url=url)
            case "dies before":
                raise Died()
            case "dies after":
                self._direct.send(request)
                raise Died()
            case "failing":
                return _answer(500, "InternalServerError")
            case "throttled":
                return _answer(400, "ThrottlingException")
            case "conflict":
                return _conflict(request)
        raise AssertionError(f"no such way to break: {one.how}")

    def _after_call(self, parsed: dict[str, Any], event_name: str, **_: Any) -> None:
        service, operation = event_name.split(".")[1:]
        if change := self.edits.get(f"{service}.{operation}"):
            change(parsed)
        with self._lock:
            for seen in reversed(self.tries):
                if seen.call == f"{service}.{operation}" and not seen.answer:
                    seen.answer = parsed
                    return


def _conflict(request: AWSPreparedRequest) -> AWSResponse:
    """Answer as DynamoDB does when another transaction holds an item; MiniStack never does."""
    if not _text(request.headers.get("X-Amz-Target")).endswith(".TransactWriteItems"):
        return _answer(400, "TransactionConflictException")
    return _answer(
        400,
        "TransactionCanceledException",
        ', "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict", '
        '"Message": "Transaction is ongoing for the item"}]',
    )


def _answer(status: int, code: str, more: str = "") -> AWSResponse:
    body = f'{{"__type": "com.amazonaws.dynamodb.v20120810#{code}", "message": "as told"{more}}}'
    headers = HTTPHeaders.from_dict({"x-amzn-requestid": uuid4().hex})
    return AWSResponse("", status, headers, _Body(body.encode()))


class _Body:
    """A response's body, as AWSResponse reads it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


WIRE = Wire()
