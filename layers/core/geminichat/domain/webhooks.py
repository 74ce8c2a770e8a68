"""Stripe's webhook: verify and parse events."""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from geminichat.errors import InvalidRequest, InvalidSignature, WrongMode

TOLERANCE = 300
"""The largest difference, in seconds, between the time of a signature and our time."""
MAX_BODY = 256 * 1024
"""The most bytes of an event; Stripe's events have a few thousand."""

CHANGES_PLAN = frozenset(
    {
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
    }
)


class StripeEvent(msgspec.Struct, frozen=True):
    """The used fields of a Stripe event; the event only says which customer has changed.

    The change is fetched from Stripe, because events may arrive late, twice and in any order.
    """

    id: str
    type: str
    livemode: bool
    created: int
    customer_id: str | None = None
    """The customer's id if the event may change the customer's plan, else None."""


def parse_event(
    body: bytes | None, signature: str, secrets: Sequence[str], *, live: bool, now: datetime
) -> StripeEvent | None:
    """Return the event in a signed body, or None if the body holds another kind of object.

    Any of the `secrets` may have signed the body. An unsigned body is not parsed. Raises
    InvalidRequest, InvalidSignature, WrongMode.
    """
    if body is None or len(body) > MAX_BODY:
        raise _not_an_event()
    if not _is_signed(body, signature, secrets, now):
        raise InvalidSignature()
    try:
        if msgspec.json.decode(body, type=_Kind).object != "event":
            return None
        event, customer_id = msgspec.json.decode(body, type=StripeEvent), None
        if event.type in CHANGES_PLAN:  # the data of other types may have any shape
            customer_id = msgspec.json.decode(body, type=_Change).data.object.customer
    except msgspec.DecodeError as error:
        raise _not_an_event() from error
    if event.livemode != live:
        raise WrongMode(f"This endpoint accepts {'live' if live else 'test'}-mode events only.")
    return msgspec.structs.replace(event, customer_id=customer_id)


class _Kind(msgspec.Struct, frozen=True):
    object: str = ""


class _Object(msgspec.Struct, frozen=True):
    customer: str | None = None


class _Data(msgspec.Struct, frozen=True):
    object: _Object = _Object()


class _Change(msgspec.Struct, frozen=True):
    data: _Data = _Data()


def _not_an_event() -> InvalidRequest:
    return InvalidRequest("The request body is not a Stripe event.")


def _is_signed(body: bytes, header: str, secrets: Sequence[str], now: datetime) -> bool:
    """Return whether a Stripe-Signature header (`t=…,v1=…,v1=…`) is valid and recent."""
    parts = [part.strip().partition("=") for part in header[:4096].split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1"]
    if len(stamps) != 1 or not re.fullmatch(r"[0-9]{1,12}", stamps[0], re.ASCII):
        return False
    signed = stamps[0].encode() + b"." + body
    matches = False
    for secret in secrets:
        expected = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
        for signature in signatures:
            matches |= hmac.compare_digest(signature.encode("utf-8", "replace"), expected)
    return matches and abs(now.timestamp() - int(stamps[0])) <= TOLERANCE
