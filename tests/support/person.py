"""Person: a user of the API in every test suite, in process or over HTTP."""

import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import jwt

from geminichat import access_tokens, config
from geminichat.domain import ids, times
from geminichat.domain.identities import Identity
from geminichat.domain.messages import FINAL
from geminichat.domain.sessions import Claims
from geminichat.runtime import clock
from geminichat.tables import subscriptions
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.users import User
from tests.support import billing, outbox, stored
from tests.support.http_api import Client, Reply
from tests.support.standins import Stripe

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "staple staple staple"
PROOF = {"currentPassword": PASSWORD}
"""A fresh proof: the password of `Person.sign_up`."""


def new_email() -> Identity:
    return Identity("email", f"ann-{secrets.token_hex(8)}@example.com")


def new_mobile() -> Identity:
    """Return a valid mobile number that no other test uses."""
    return Identity("mobile", f"+1415{secrets.choice('23456789')}{secrets.randbelow(10**6):06}")


class Person:
    """Someone with an identity; a sign-up or a login gives the person an account.

    `at` is the moment when the gateway receives a request.
    """

    def __init__(
        self, api: Client, identity: Identity | None = None, stripe: Stripe | None = None
    ) -> None:
        """Start without an account; `stripe` is the stand-in at which the person pays."""
        self.api = api
        self.identity = identity or new_email()
        self.id = ids.new("u")
        self.session_id = "s_test"
        self.token = ""
        """The access token of the newest sign-up or login; in process, none is needed."""
        self.refresh_token = ""
        self.device_token = ""
        self.undelivered: list[str] = []
        """The ids of Stripe events about this person that were not delivered yet."""
        self.second: Person | None = None
        """The same person with another identity, if a test has set one."""
        self._stripe = stripe
        self._is_stored = False

    @classmethod
    def new(cls, api: Client, stripe: Stripe | None = None) -> Self:
        """Return someone with a new account."""
        person = cls(api, stripe=stripe)
        reply = person.sign_up()
        assert reply.status == 201, reply.text
        return person

    @classmethod
    def new_proven(
        cls, api: Client, stripe: Stripe | None = None, identity: Identity | None = None
    ) -> Self:
        """Return someone with a new account and a verified identity."""
        person = cls(api, identity, stripe)
        person.prove()
        return person

    @classmethod
    def with_password(
        cls, api: Client, stripe: Stripe | None = None, at: datetime | None = None
    ) -> Self:
        """Return someone with a new account, a verified email and a password."""
        person = cls(api, stripe=stripe)
        person.sign_up(at=at)
        person.ask_for_code(at=at)
        reply = person.verify(person.code(), at=at, token=person.token)
        assert reply.status == 200, reply.text
        return person

    def request(self, method: str, url: str, *, at: datetime | None = None, **more: Any) -> Reply:
        """Send a request with the person's token; with `at`, use a token issued at that time."""
        token = self.token if self.token and at is None else self._issue(at or datetime.now(UTC))
        return self.api.request(method, url, at=at, token=token, **more)

    @property
    def headers(self) -> dict[str, str]:
        """The header that carries the token."""
        return {"authorization": f"Bearer {self.token}"}

    def get(self, url: str, **more: Any) -> Reply:
        """Send a GET."""
        return self.request("GET", url, **more)

    def post(self, url: str, json: Any = None, **more: Any) -> Reply:
        """Send a POST."""
        return self.request("POST", url, json=json, **more)

    def token_at(self, moment: datetime) -> str:
        """Return an access token of the newest session, issued at a moment."""
        return self._issue(moment)

    def _issue(self, moment: datetime) -> str:
        if not self.token and not self._is_stored:
            self._store()
        signing = config.signing_keys()
        key = signing.keys[signing.current]
        return access_tokens.issue(Claims(self.id, self.session_id), signing.current, key, moment)

    def _store(self) -> None:
        """Store the person with a session and a proven identity, as after a login by code."""
        sessions = {self.session_id: int(time.time())}
        created_at = times.text(clock.now())
        User(self.id, created_at=created_at, sessions=sessions, email_verified=True).save()
        self._is_stored = True

    # ── The account ──

    @property
    def named(self) -> dict[str, str]:
        """The identity as a field of a request body."""
        return {self.identity.kind: self.identity.value}

    def sign_up(self, password: str | None = PASSWORD, **more: Any) -> Reply:
        secret = {} if password is None else {"password": password}
        return self.remember(self.api.post("/auth/signup", self.named | secret, **more))

    def log_in(
        self, password: str = PASSWORD, device_token: str | None = None, **more: Any
    ) -> Reply:
        device = {} if device_token is None else {"deviceToken": device_token}
        body = self.named | {"password": password} | device
        return self.remember(self.api.post("/auth/login", body, **more))

    def ask_for_code(
        self, purpose: str = "login", device_token: str | None = None, **more: Any
    ) -> Reply:
        body = self.named if purpose == "login" else self.named | {"purpose": purpose}
        device = {} if device_token is None else {"deviceToken": device_token}
        return self.api.post("/auth/send-otp", body | device, **more)

    def verify(self, otp: str, challenge: str | None = None, **more: Any) -> Reply:
        body = self.named | {"otp": otp} | ({} if challenge is None else {"challenge": challenge})
        return self.remember(self.api.post("/auth/verify-otp", body, **more))

    def confirm(self, at: datetime | None = None) -> dict[str, str]:
        """Return a fresh proof: a code that was sent to this identity."""
        assert self.ask_for_code("confirm", at=at).status == 200
        return {"currentOtp": self.code()}

    def prove(self, *, at: datetime | None = None) -> Any:
        """Log in by code; return the user and the tokens."""
        asked = self.ask_for_code(at=at)
        assert asked.status == 200, asked.text
        reply = self.verify(asked.data.get("otp") or self.code(), at=at)
        assert reply.status == 200, reply.text
        return reply.data

    def forget_password(self, **more: Any) -> Reply:
        return self.api.post("/auth/forgot-password", self.named, **more)

    def reset(self, otp: str, password: str = OTHER_PASSWORD, **more: Any) -> Reply:
        body = self.named | {"otp": otp, "newPassword": password}
        return self.api.post("/auth/reset-password", body, **more)

    def change_password(self, new: str, proof: Mapping[str, str], **more: Any) -> Reply:
        """Change the password with a fresh proof, and keep the new session."""
        body = {"newPassword": new, **proof}
        return self.remember(self.post("/auth/change-password", body, **more))

    def add_identity(
        self, second: "Person", proof: Mapping[str, str] | None = None, at: datetime | None = None
    ) -> Reply:
        """Add the identity of `second` to the account; the default fresh proof is a code."""
        assert second.ask_for_code("link", at=at).status == 200
        code = {"otp": second.code()}
        body = second.named | code | dict(self.confirm(at) if proof is None else proof)
        return self.post("/user/identity", body, at=at)

    def me(self, token: str | None = None, **more: Any) -> Reply:
        """Send GET /auth/me with a token, by default the person's own."""
        if token is None:
            return self.get("/auth/me", **more)
        return self.api.get("/auth/me", token=token, **more)

    def refresh(self, refresh_token: str, **more: Any) -> Reply:
        return self.api.post("/auth/refresh", {"refreshToken": refresh_token}, **more)

    def code(self) -> str:
        """Return the code in the newest message to this identity."""
        return outbox.code_for(self.identity.value, self.api.aws_url)

    def messages(self) -> list[str]:
        """Return every message to this identity."""
        return outbox.messages_to(self.identity.value, self.api.aws_url)

    def remember(self, reply: Reply) -> Reply:
        """Keep the session that a reply has opened, if any; return the reply."""
        if reply.status in (200, 201) and (token := reply.data.get("token")):
            claims = jwt.decode(token, options={"verify_signature": False})
            self.id, self.session_id = claims["sub"], claims["sid"]
            self.token, self.refresh_token = token, reply.data["refreshToken"]
            self.device_token = reply.data["deviceToken"]
        return reply

    # ── Chatrooms ──

    def open_room(self, title: str | None = None, **body: Any) -> str:
        """Open a room and return its id."""
        named = {} if title is None else {"title": title}
        reply = self.post("/chatroom", named | body)
        assert reply.status == 201, reply.text
        return str(reply.data["id"])

    def send(self, room: str, content: str = "Hello", key: str | None = None, **more: Any) -> Reply:
        """Send a prompt, with an idempotency key if one is given."""
        headers = {} if key is None else {"idempotency-key": key}
        return self.post(f"/chatroom/{room}/message", {"content": content}, headers=headers, **more)

    def ask(self, room: str, content: str = "Hello", **more: Any) -> str:
        """Send a prompt that is accepted, and return its id."""
        reply = self.send(room, content, **more)
        assert reply.status == 202, reply.text
        return str(reply.data["messageId"])

    def retry(self, room: str, message: str, **more: Any) -> Reply:
        """Retry a failed prompt."""
        return self.post(f"/chatroom/{room}/message/{message}/retry", **more)

    def edit(self, room: str, message: str, content: str, **more: Any) -> Reply:
        """Send a prompt again with another text."""
        return self.request(
            "PATCH", f"/chatroom/{room}/message/{message}", json={"content": content}, **more
        )

    def regenerate(self, room: str, message: str, model: str | None = None, **more: Any) -> Reply:
        """Request another reply to a prompt."""
        body = {} if model is None else {"model": model}
        return self.post(f"/chatroom/{room}/message/{message}/regenerate", body, **more)

    def undo(self, room: str, **more: Any) -> Reply:
        """Undo the latest edit or regeneration."""
        return self.post(f"/chatroom/{room}/undo", **more)

    def fork(self, room: str, up_to: str, **more: Any) -> Reply:
        """Fork a room after the turn of a message."""
        return self.post(f"/chatroom/{room}/fork", {"upTo": up_to}, **more)

    def fetch_message(self, room: str, message: str) -> Any:
        """Return a message, fetched by GET /chatroom/{id}/message/{messageId}."""
        reply = self.get(f"/chatroom/{room}/message/{message}")
        assert reply.status == 200, reply.text
        return reply.data

    def page(self, room: str) -> Any:
        """Return the room's first messages, a hundred at most."""
        reply = self.get(f"/chatroom/{room}/message?limit=100")
        assert reply.status == 200, reply.text
        return reply.data["messages"]

    def pages(self, url: str) -> Iterator[Any]:
        """Yield the data of each page of a list, from the first page on."""
        cursor: str | None = ""
        while cursor is not None:
            reply = self.get(f"{url}&cursor={cursor}")
            assert reply.status == 200, reply.text
            yield reply.data
            cursor = reply.data["nextCursor"]

    def wait(self, room: str, message: str, seconds: float = 90.0) -> Any:
        """Poll a prompt until its status is final, and return it."""
        deadline = time.monotonic() + seconds
        while (prompt := self.fetch_message(room, message))["status"] not in FINAL:
            assert time.monotonic() < deadline, f"still {prompt['status']}"
            time.sleep(0.25)
        return prompt

    def delete(self, room: str) -> Reply:
        """Delete a room."""
        return self.request("DELETE", f"/chatroom/{room}")

    def count_prompts(self, at: datetime | None = None) -> int:
        """Return the number of prompts that the usage table counts on a day."""
        return stored.count_prompts(self.id, times.day(at or datetime.now(UTC)))

    # ── The subscription ──

    @property
    def stripe(self) -> Stripe:
        """The stand-in at which the person pays."""
        assert self._stripe, "this person has no stand-in for Stripe"
        return self._stripe

    def subscribe(self, *, lasting: timedelta = timedelta(days=30)) -> None:
        """Store the pro plan in the table, without Stripe."""
        Subscription(self.id, pro_until=times.text(datetime.now(UTC) + lasting)).save()

    def checkout(self) -> Reply:
        """Request a Checkout page at Stripe."""
        return self.post("/subscribe/pro")

    def pay(self, action: str = "pay") -> str:
        """Subscribe without delivering Stripe's events; return the subscription's id."""
        reply = self.checkout()
        assert reply.status == 200, reply.text
        self.undelivered += self.stripe.act(reply.data["sessionId"], action)
        session = self.stripe.get(f"/v1/checkout/sessions/{reply.data['sessionId']}")
        return str(session["subscription"])

    def move(self, move: str) -> None:
        """Change the subscription at Stripe without delivering the events."""
        self.undelivered += self.stripe.move(self.subscription_id(), move)

    def buy(self) -> str:
        """Subscribe, deliver the events, and return the plan."""
        self.pay()
        self.deliver_events()
        return self.plan()

    def change(self, move: str) -> str:
        """Change the subscription at Stripe, deliver the events, and return the plan."""
        self.move(move)
        self.deliver_events()
        return self.plan()

    def deliver_events(self) -> None:
        """Deliver every event that was not delivered yet."""
        events, self.undelivered = self.undelivered, []
        for event_id in events:
            reply = billing.deliver(self.api, self.stripe, event_id)
            assert reply.status == 200, reply.text

    def status(self, at: datetime | None = None) -> dict[str, Any]:
        """Return the data of GET /subscription/status."""
        reply = self.get("/subscription/status", at=at)
        assert reply.status == 200, reply.text
        status: dict[str, Any] = reply.data
        return status

    def plan(self, at: datetime | None = None) -> str:
        """Return the plan, now or at a moment."""
        return str(self.status(at)["plan"])

    def subscription(self) -> Subscription:
        """Return the stored subscription."""
        return subscriptions.load(self.id)

    def customer_id(self) -> str:
        """Return the customer's id at Stripe."""
        customer = self.subscription().stripe_customer_id
        assert customer
        return customer

    def customers(self) -> list[Any]:
        """Return every customer at Stripe that was made for this user."""
        found = self.stripe.get("/v1/customers", limit=100)["data"]
        return [one for one in found if one["metadata"].get("user_id") == self.id]

    def at_stripe(self) -> list[Any]:
        """Return the customer's subscriptions at Stripe, newest first."""
        params = {"customer": self.customer_id(), "status": "all", "limit": 100}
        found: list[Any] = self.stripe.get("/v1/subscriptions", **params)["data"]
        return found

    def subscription_id(self) -> str:
        """Return the id of the newest subscription at Stripe."""
        return str(self.at_stripe()[0]["id"])

    def period_end(self) -> datetime:
        """Return when the newest subscription's period ends."""
        [item] = self.at_stripe()[0]["items"]["data"]
        return datetime.fromtimestamp(item["current_period_end"], UTC)


def check_problem(reply: Reply, status: int, code: str) -> Reply:
    """Assert that a reply is this problem, and return the reply."""
    found = (reply.status, reply.json.get("type"))
    assert found == (status, f"urn:geminichat:problem:{code}"), reply.text
    return reply
