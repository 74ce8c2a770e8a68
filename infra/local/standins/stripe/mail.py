"""Events and their delivery: signed as Stripe signs them, tried again until they are taken.

As with Stripe, events go out side by side, so they arrive in any order. A test can ask for more:
hold them back, deliver them one by one, twice, in the order it likes.
"""

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from infra.local.standins.stripe.ledger import new_id, public
from infra.local.standins.stripe.wire import Json

API_VERSION = "2026-10-28.endive"
OLD_API_VERSION = "2024-06-20"
"""A version that has the periods on the subscription, and an invoice's subscription on top."""

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
"""What a webhook endpoint of ours subscribes to."""

TIMEOUT = 20.0
"""Seconds that an endpoint may take to answer."""
RETRIES = (1, 2, 4, 8, 16, 32, 60, 60, 60)
"""Seconds before each further try; Stripe's own hours would be of little use here."""

ORDERS = ("created", "reversed", "random")


@dataclass
class Endpoint:
    """Where events go; while a secret is rotated, each is signed with both."""

    url: str = ""
    secrets: Sequence[str] = ()
    held: bool = False
    """Whether events are held back until they are asked for."""
    types: Sequence[str] = ()
    """Which events go there, as its enabled events say; all where none is named."""
    copies: int = 1
    """How often each is delivered."""
    api_version: str = API_VERSION


@dataclass
class Letter:
    """An event and what became of its deliveries: each answer's status, 0 for none."""

    event: Json
    answers: list[int] = field(default_factory=list)

    def described(self) -> Json:
        """Return the event and its answers."""
        return {"event": self.event, "answers": self.answers}

    @property
    def taken(self) -> bool:
        """Say whether a delivery was taken."""
        return any(200 <= status < 300 for status in self.answers)


class Mail:
    """The events so far, oldest first, and their way to the endpoint."""

    def __init__(self, endpoint: Endpoint, *, livemode: bool, clock: Callable[[], float]) -> None:
        self.endpoint = endpoint
        self._livemode = livemode
        self._clock = clock
        self._letters: dict[str, Letter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """Be ready to deliver while the application runs."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as self._http:
            yield
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def tell(self, kind: str, thing: Json, previous: Json | None) -> None:
        """Note an event with the object as it is now, and send it on its way."""
        version = self.endpoint.api_version
        shown = json.loads(json.dumps(public(thing)))
        data: Json = {"object": _old(shown) if version == OLD_API_VERSION else shown}
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
        self._letters[event["id"]] = Letter(event)
        if not self.endpoint.held:
            self._send(event["id"])

    def undelivered(self) -> list[Json]:
        """Return the events that nobody has taken yet, for a file."""
        return [
            letter.event
            for letter in self.letters()
            if not letter.taken and self._is_wanted(letter.event)
        ]

    def _is_wanted(self, event: Json) -> bool:
        return not self.endpoint.types or event["type"] in self.endpoint.types

    def restore(self, events: list[Json]) -> None:
        """Have these events to deliver again."""
        for event in events:
            self._letters[event["id"]] = Letter(event)

    def resend(self) -> None:
        """Send what nobody has taken."""
        for event in self.undelivered():
            self._send(event["id"])

    def find(self, event_id: str) -> Letter | None:
        """Return an event and its deliveries, or None."""
        return self._letters.get(event_id)

    def letters(self) -> list[Letter]:
        """Return all events, oldest first."""
        return list(self._letters.values())

    def release(self, order: str, seed: int | None) -> list[str]:
        """Send what was held back and return the ids in the order of sending."""
        ids = [letter.event["id"] for letter in self.letters() if not letter.answers]
        if order == "reversed":
            ids.reverse()
        if order == "random":
            random.Random(seed).shuffle(ids)
        for event_id in ids:
            self._send(event_id)
        return ids

    def signed(self, event_id: str) -> tuple[str, str]:
        """Return an event's body and its Stripe-Signature of this moment."""
        body = json.dumps(self._letters[event_id].event, indent=2)
        return body, signature(body, self.endpoint.secrets, int(time.time()))

    async def deliver(self, event_id: str) -> int:
        """Deliver an event once, now, and return the answer's status; 0 where none came."""
        body, header = self.signed(event_id)
        status = await self._post(body, header)
        self._letters[event_id].answers.append(status)
        return status

    def _send(self, event_id: str) -> None:
        if not self.endpoint.url or not self._is_wanted(self._letters[event_id].event):
            return
        for _ in range(self.endpoint.copies):
            task = asyncio.get_running_loop().create_task(self._insist(event_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _insist(self, event_id: str) -> None:
        for pause in (*RETRIES, None):
            if 200 <= await self.deliver(event_id) < 300 or pause is None:
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


def signature(body: str, secrets: Sequence[str], at: int) -> str:
    """Return the Stripe-Signature header of a body."""
    signed = f"{at}.{body}".encode()
    each = (hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets)
    return ",".join([f"t={at}", *(f"v1={one}" for one in each)])


def _old(thing: Json) -> Json:
    """Return an object in the shape of OLD_API_VERSION."""
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
