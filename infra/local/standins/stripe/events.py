"""Events and their delivery to the webhook: signed as by Stripe, and retried until accepted.

As at Stripe, events are delivered concurrently, so they arrive in any order. A test can also hold
events back, and deliver them one by one, twice, or in a chosen order.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from infra.local.standins.stripe.ledger import new_id, to_public
from infra.local.standins.stripe.protocol import Json

API_VERSION = "2026-10-28.endive"
OLD_API_VERSION = "2024-06-20"
"""In this API version, a subscription has the period, and an invoice has the subscription's id."""

EVENTS = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "invoice.paid",
    "invoice.payment_failed",
)
"""The event types that our webhook endpoint subscribes to."""

TIMEOUT = 20.0
"""The longest wait for the endpoint's answer, in seconds."""
RETRIES = (1, 2, 4, 8, 16, 32, 60, 60, 60)
"""Seconds before each retry; Stripe waits hours."""


@dataclass
class Endpoint:
    """The webhook endpoint; during a rotation each event is signed with both secrets."""

    url: str = ""
    secrets: Sequence[str] = ()
    held: bool = False
    """Whether events are held back until a test releases them."""
    types: Sequence[str] = ()
    """The event types that are delivered; empty for all types."""
    api_version: str = API_VERSION


@dataclass
class SentEvent:
    """An event and the status of the answer to each delivery (0: no answer)."""

    event: Json
    answers: list[int] = field(default_factory=list)

    def describe(self) -> Json:
        """Return the event and the statuses of its deliveries as JSON."""
        return {"event": self.event, "answers": self.answers}

    @property
    def is_accepted(self) -> bool:
        """Whether the endpoint has accepted the event."""
        return any(200 <= status < 300 for status in self.answers)


class EventLog:
    """All events so far, oldest first, and their delivery to the endpoint."""

    def __init__(self, endpoint: Endpoint, *, livemode: bool, clock: Callable[[], float]) -> None:
        self.endpoint = endpoint
        self._livemode = livemode
        self._clock = clock
        self._events: dict[str, SentEvent] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """Deliver events while the application runs."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as self._http:
            yield
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def emit(self, kind: str, thing: Json, previous: Json | None) -> None:
        """Store an event with the current state of an object, and deliver the event."""
        version = self.endpoint.api_version
        shown = json.loads(json.dumps(to_public(thing)))
        data: Json = {"object": _to_old_version(shown) if version == OLD_API_VERSION else shown}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Json = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": version,
            "created": int(self._clock()),
            "data": data,
            "livemode": self._livemode,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": kind,
        }
        sent = self._events[event["id"]] = SentEvent(event)
        if not self.endpoint.held:
            self._send(sent)

    def list_undelivered(self) -> list[Json]:
        """Return the events that the endpoint has not accepted yet, as JSON."""
        return [sent.event for sent in self._list_unaccepted()]

    def _list_unaccepted(self) -> list[SentEvent]:
        return [
            sent for sent in self.all() if not sent.is_accepted and self._is_subscribed(sent.event)
        ]

    def _is_subscribed(self, event: Json) -> bool:
        return not self.endpoint.types or event["type"] in self.endpoint.types

    def restore(self, events: list[Json]) -> None:
        """Add events that were not delivered in an earlier run."""
        for event in events:
            self._events[event["id"]] = SentEvent(event)

    def resend(self) -> None:
        """Deliver the events that the endpoint has not accepted."""
        for sent in self._list_unaccepted():
            self._send(sent)

    def find(self, event_id: str) -> SentEvent | None:
        """Return an event with the statuses of its deliveries, or None."""
        return self._events.get(event_id)

    def all(self) -> list[SentEvent]:
        """Return all events, oldest first."""
        return list(self._events.values())

    def sign(self, sent: SentEvent) -> tuple[str, str]:
        """Return an event's body, and a Stripe-Signature header with the current time."""
        body = json.dumps(sent.event, indent=2)
        return body, sign(body, self.endpoint.secrets, int(time.time()))

    def _send(self, sent: SentEvent) -> None:
        if self.endpoint.url and self._is_subscribed(sent.event):
            task = asyncio.get_running_loop().create_task(self._deliver(sent))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _deliver(self, sent: SentEvent) -> None:
        for pause in (*RETRIES, None):
            sent.answers.append(await self._post(*self.sign(sent)))
            if sent.is_accepted or pause is None:
                return
            await asyncio.sleep(pause)

    async def _post(self, body: str, header: str) -> int:
        if self._http is None or not self.endpoint.url:
            return 0
        headers = {
            "content-type": "application/json; charset=utf-8",
            "stripe-signature": header,
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            async with self._http.post(self.endpoint.url, data=body, headers=headers) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


def sign(body: str, secrets: Sequence[str], at: int) -> str:
    """Return the Stripe-Signature header of a body."""
    signed = f"{at}.{body}".encode()
    each = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join([f"t={at}", *(f"v1={one}" for one in each)])


def _to_old_version(thing: Json) -> Json:
    """Convert an object to the shape of OLD_API_VERSION."""
    if thing["object"] == "subscription":
        item = thing["items"]["data"][0]
        for name in ("current_period_start", "current_period_end"):
            thing[name] = item.pop(name)
        del thing["billing_mode"]
    if thing["object"] == "invoice":
        details = thing.pop("parent")["subscription_details"]
        thing["subscription"] = details["subscription"]
        thing["subscription_details"] = {"metadata": details["metadata"]}
    return thing
