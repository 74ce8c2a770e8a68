"""Someone who pays: what they do at our API and at Stripe, and the news of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import uuid4

import jwt

from geminichat import access_tokens, config
from geminichat.domain.sessions import Claims
from geminichat.tables import subscriptions
from geminichat.tables.subscriptions import Subscription
from infra.local.standins.stripe.driver import Stripe
from tests.support.lambdas import Api, Reply

HOOK = "/webhook/stripe"


@dataclass
class Payer:
    """An account, and its customer at Stripe."""

    api: Api
    stripe: Stripe
    id: str
    session_id: str
    news: list[str] = field(default_factory=list)
    """The ids of the events that Stripe has for us and that were not delivered yet."""

    @classmethod
    def sign_up(cls, api: Api, stripe: Stripe) -> Self:
        """Open an account with an email and a password."""
        body = {"email": f"{uuid4().hex[:12]}@example.com", "password": "correct horse battery"}
        return cls.of(api, stripe, api.post("/auth/signup", body))

    @classmethod
    def of(cls, api: Api, stripe: Stripe, reply: Reply) -> Self:
        """Be who an answer's token says."""
        claims = jwt.decode(reply.data["token"], options={"verify_signature": False})
        return cls(api, stripe, claims["sub"], claims["sid"])

    def request(self, method: str, url: str, *, at: datetime | None = None, **more: Any) -> Reply:
        """Send a request with a token that is valid at that moment."""
        moment = at or datetime.now(UTC)
        signing = config.signing_keys()
        claims = Claims(self.id, self.session_id)
        token = access_tokens.issue(claims, signing.current, signing.keys[signing.current], moment)
        return self.api.request(method, url, at=moment, token=token, **more)

    def checkout(self) -> Reply:
        """Ask for a page to pay on."""
        return self.request("POST", "/subscribe/pro")

    def pay(self, turn: str = "pay") -> str:
        """Subscribe, and return the subscription's id; the news of it is not taken yet."""
        reply = self.checkout()
        assert reply.status == 200, reply.text
        self.news += self.stripe.turn(reply.data["sessionId"], turn)
        session = self.stripe.get(f"/v1/checkout/sessions/{reply.data['sessionId']}")
        return str(session["subscription"])

    def move(self, move: str) -> None:
        """Turn the life of the subscription; the news of it is not taken yet."""
        self.news += self.stripe.move(self.subscription_id(), move)

    def take_news(self) -> None:
        """Have every event delivered that was not yet."""
        news, self.news = self.news, []
        for event_id in news:
            reply = deliver(self.api, self.stripe, event_id)
            assert reply.status == 200, reply.text

    def status(self, at: datetime | None = None) -> Any:
        """Return what GET /subscription/status says."""
        reply = self.request("GET", "/subscription/status", at=at)
        assert reply.status == 200, reply.text
        return reply.data

    def plan(self, at: datetime | None = None) -> str:
        """Return the plan, now or at a moment."""
        return str(self.status(at)["plan"])

    def stored(self) -> Subscription:
        """Return what the table holds."""
        return subscriptions.find(self.id)

    def customer_id(self) -> str:
        """Return the customer at Stripe."""
        customer = self.stored().stripe_customer_id
        assert customer
        return customer

    def customers(self) -> list[Any]:
        """Return every customer that was made for this user."""
        found = self.stripe.get("/v1/customers", limit=100)["data"]
        return [one for one in found if one["metadata"].get("user_id") == self.id]

    def at_stripe(self) -> list[Any]:
        """Return the customer's subscriptions at Stripe, newest first."""
        params = {"customer": self.customer_id(), "status": "all", "limit": 100}
        found: list[Any] = self.stripe.get("/v1/subscriptions", **params)["data"]
        return found

    def subscription_id(self) -> str:
        """Return the newest subscription at Stripe."""
        return str(self.at_stripe()[0]["id"])

    def period_end(self) -> datetime:
        """Return when the newest subscription's period ends."""
        [item] = self.at_stripe()[0]["items"]["data"]
        return datetime.fromtimestamp(item["current_period_end"], UTC)

    def prompt(self, room: str, at: datetime | None = None) -> Reply:
        """Send a prompt."""
        return self.request("POST", f"/chatroom/{room}/message", json={"content": "Hello"}, at=at)

    def open_room(self) -> str:
        """Open a room and return its id."""
        return str(self.request("POST", "/chatroom", json={}).data["id"])


def deliver(api: Api, stripe: Stripe, event_id: str, **more: Any) -> Reply:
    """Deliver an event to the webhook."""
    body, signature = stripe.signed(event_id)
    return post(api, body.encode(), signature, **more)


def post(api: Api, body: bytes, signature: str | None, **more: Any) -> Reply:
    """Post a body to the webhook."""
    headers = {} if signature is None else {"stripe-signature": signature}
    return api.request("POST", HOOK, body=body, headers=headers, **more)


def event(**fields: Any) -> bytes:
    """Return an event of one's own."""
    made = {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": "customer.subscription.updated",
        "livemode": False,
        "created": int(datetime.now(UTC).timestamp()),
        "data": {"object": {"object": "subscription", "customer": "cus_none"}},
    }
    return json.dumps({**made, **fields}).encode()


def of_type(stripe: Stripe, kind: str, ids: Sequence[str]) -> str:
    """Return that event among those with the ids which is of a kind."""
    by_id: Mapping[str, Any] = {one["event"]["id"]: one["event"] for one in stripe.events()}
    [found] = [event_id for event_id in ids if by_id[event_id]["type"] == kind]
    return found


YEAR = timedelta(days=365)
