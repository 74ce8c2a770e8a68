"""Stripe's webhook: whose word an event is, and whether it may change a plan."""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from geminichat.errors import InvalidRequest, InvalidSignature, WrongMode

TOLERANCE = 300
"""Seconds between signing and receiving, either way."""
MAX_BODY = 256 * 1024
"""Bytes; Stripe's events are a few thousand."""

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


class _Object(msgspec.Struct, frozen=True):
    customer: str | None = None


class _Data(msgspec.Struct, frozen=True):
    object: _Object = _Object()


class StripeEvent(msgspec.Struct, frozen=True):
    """As much of an event as is believed: that something changed for a customer."""

    id: str
    type: str
    livemode: bool
    created: int
    data: _Data = _Data()

    @property
    def customer_id(self) -> str | None:
        """The customer whose plan may have changed; None where it cannot have."""
        return self.data.object.customer if self.type in CHANGES_PLAN else None


def read(
    body: bytes | None, signature: str, secrets: Sequence[str], *, live: bool, now: datetime
) -> StripeEvent | None:
    """Return the event in a body that one of the secrets signed; None for one of another kind.

    Nothing is read from a body that is not signed. Raises InvalidRequest,
    InvalidSignature, and WrongMode for a test event in live mode or the other way round.
    """
    if body is None or len(body) > MAX_BODY:
        raise InvalidRequest("This is not a Stripe event.")
    if not _is_signed(body, signature, secrets, now):
        raise InvalidSignature()
    try:
        kind = msgspec.json.decode(body, type=_Kind)
        if kind.object != "event":
            return None
        event = _decode(body, kind)
    except msgspec.DecodeError as error:
        raise InvalidRequest("This is not a Stripe event.") from error
    if event.livemode != live:
        raise WrongMode(f"This endpoint accepts only {'live' if live else 'test'} events.")
    return event


class _Kind(msgspec.Struct, frozen=True):
    object: str = ""
    type: str = ""


class _AnyEvent(msgspec.Struct, frozen=True):
    id: str
    type: str
    livemode: bool
    created: int


def _decode(body: bytes, kind: _Kind) -> StripeEvent:
    """Look into the data of those events only whose data is known."""
    if kind.type in CHANGES_PLAN:
        return msgspec.json.decode(body, type=StripeEvent)
    other = msgspec.json.decode(body, type=_AnyEvent)
    return StripeEvent(other.id, other.type, other.livemode, other.created)


def _is_signed(body: bytes, header: str, secrets: Sequence[str], now: datetime) -> bool:
    """Say whether a Stripe-Signature (`t=…,v1=…,v1=…`) is one of a secret's, and recent."""
    parts = [part.strip().partition("=") for part in header[:4096].split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    claimed = [value for name, _, value in parts if name == "v1"]
    if len(stamps) != 1 or not re.fullmatch(r"[0-9]{1,12}", stamps[0], re.ASCII):
        return False
    signed = stamps[0].encode() + b"." + body
    held = False
    for secret in secrets:
        true = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
        for signature in claimed:
            held |= hmac.compare_digest(signature.encode("utf-8", "replace"), true)
    return held and abs(now.timestamp() - int(stamps[0])) <= TOLERANCE
