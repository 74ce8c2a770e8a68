"""Stripe as the billing tests use it: its secrets, and events at the webhook."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from geminichat import config
from geminichat.clients import payments
from infra.local.standins.stripe.events import sign
from tests.support import cloud
from tests.support.http_api import Client, Reply
from tests.support.lambdas import invoke
from tests.support.standins import Stripe

HOOK = "/webhook/stripe"
KEY = "sk_test_integration"
SECRET = "whsec_integration"


def set_secrets(key: str = KEY, webhook: str = SECRET) -> None:
    """Store Stripe's secrets, and make the code under test read them again."""
    cloud.put_secrets({"STRIPE_KEY_PARAMETER": key, "STRIPE_WEBHOOK_SECRET_PARAMETER": webhook})
    config.forget_secrets()
    payments.forget_missing_secrets()


def sign_body(body: bytes, secret: str = SECRET, at: float | None = None) -> str:
    """Return Stripe's signature of a body; `at` is the time of the signature, by default now."""
    return sign(body.decode(), [secret], int(at or time.time()))


def reconcile(**event: bool) -> dict[str, Any]:
    """Run the function that compares every subscription with Stripe; return its answer."""
    answer: dict[str, Any] = invoke("SubscriptionReconcile", event)
    return answer


def deliver(api: Client, stripe: Stripe, event_id: str, **more: Any) -> Reply:
    """Deliver the stand-in's event to the webhook, and return the webhook's response."""
    body, signature = stripe.sign(event_id)
    return post(api, body.encode(), signature, **more)


def post(api: Client, body: bytes, signature: str | None, **more: Any) -> Reply:
    """Post a body to the webhook, and return the webhook's response."""
    headers = {} if signature is None else {"stripe-signature": signature}
    return api.request("POST", HOOK, body=body, headers=headers, **more)


def event(**fields: Any) -> bytes:
    """Return the body of a new event with these fields; the stand-in does not know the event."""
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
    """Return the only one of these ids whose event has this type."""
    by_id: Mapping[str, Any] = {one["event"]["id"]: one["event"] for one in stripe.events()}
    [found] = [event_id for event_id in ids if by_id[event_id]["type"] == kind]
    return found
