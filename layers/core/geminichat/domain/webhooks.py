"""Stripe's webhook: verify and parse events."""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from geminichat.errors import InvalidRequest, InvalidSignature, WrongMode

TOLERANCE = 300
"""Seconds between signing and receiving, in both directions."""
MAX_BODY = 256 * 1024
"""Bytes; Stripe's events have a few thousand."""

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
    """The trusted part of an event: something changed for this customer.

    The change itself is fetched from Stripe, because events arrive late, twice and in any order.
    """

    id: str
    type: str
    livemode: bool
    created: int
    data: _Data = _Data()

    @property
    def customer_id(self) -> str | None:
        """The customer whose plan may have changed; None if the event changes no plan."""
        return self.data.object.customer if self.type in CHANGES_PLAN else None


def parse_event(
    body: bytes | None, signature: str, secrets: Sequence[str], *, live: bool, now: datetime
) -> StripeEvent | None:
    """Return the event in a body that one of the secrets signed; None for another kind of object.

    Nothing is parsed from a body that is not signed. Raises InvalidRequest, InvalidSignature,
    WrongMode.
    """
    if body is None or len(body) > MAX_BODY:
        raise _not_an_event()
    if not _is_signed(body, signature, secrets, now):
        raise InvalidSignature()
    try:
        kind = msgspec.json.decode(body, type=_Kind)
        if kind.object != "event":
            return None
        event = _decode(body, kind)
    except msgspec.DecodeError as error:
        raise _not_an_event() from error
    if event.livemode != live:
        raise WrongMode(f"This endpoint accepts {'live' if live else 'test'} events only.")
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
    """Decode an event; its data is decoded only if its type has data of a known shape."""
    if kind.type in CHANGES_PLAN:
        return msgspec.json.decode(body, type=StripeEvent)
    other = msgspec.json.decode(body, type=_AnyEvent)
    return StripeEvent(other.id, other.type, other.livemode, other.created)


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
