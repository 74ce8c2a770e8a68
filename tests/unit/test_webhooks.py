"""Stripe's events: their signatures, their age, their mode, and invalid bodies."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import webhooks
from geminichat.domain.webhooks import MAX_BODY, StripeEvent
from geminichat.errors import InvalidRequest

SECRET = "whsec_new"
OTHER = "whsec_old"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "customer.subscription.updated",
    "livemode": False,
    "created": 1_790_000_000,
    "data": {"object": {"object": "subscription", "customer": "cus_1"}},
}


def sign(body: bytes, secret: str = SECRET, at: datetime = NOW) -> str:
    stamp = int(at.timestamp())
    signed = f"{stamp}.".encode() + body
    return f"t={stamp},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def parse(
    body: bytes | None, header: str, secrets: list[str] | None = None, *, live: bool = False
) -> StripeEvent | None:
    return webhooks.parse_event(body, header, secrets or [SECRET], live=live, now=NOW)


def body_of(**fields: Any) -> bytes:
    return json.dumps({**EVENT, **fields}).encode()


def check_rejected(body: bytes | None, header: str, **more: Any) -> str:
    with pytest.raises(InvalidRequest) as error:
        parse(body, header, **more)
    return error.value.code


def test_a_signed_stripe_event_is_parsed() -> None:
    event = parse(body_of(), sign(body_of()))
    assert event is not None
    assert (event.id, event.customer_id) == ("evt_1", "cus_1")


def test_a_signature_by_stripes_sdk_is_accepted() -> None:
    body = body_of().decode()
    header = stripe.WebhookSignature.generate_signature_header(body, SECRET)
    assert webhooks.parse_event(body.encode(), header, [SECRET], live=False, now=datetime.now(UTC))


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_the_old_and_the_new_webhook_secret_are_accepted_during_a_rotation(secret: str) -> None:
    assert parse(body_of(), sign(body_of(), secret), [SECRET, OTHER])


def test_one_valid_signature_among_several_is_enough() -> None:
    ours, other = sign(body_of()), sign(body_of(), OTHER)
    header = f"{other},{ours.partition(',')[2]},v0=00"
    assert parse(body_of(), header)


@pytest.mark.parametrize(
    ("seconds", "valid"), [(0, True), (-300, True), (300, True), (-301, False), (301, False)]
)
def test_a_signature_is_valid_for_five_minutes(seconds: int, valid: bool) -> None:
    header = sign(body_of(), at=NOW + timedelta(seconds=seconds))
    if valid:
        assert parse(body_of(), header)
    else:
        assert check_rejected(body_of(), header) == "invalid-signature"


GOOD = sign(body_of())
STAMP, MAC = GOOD.split(",")


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "=",
        STAMP,
        MAC,
        "t=,v1=",
        f"t=x,{MAC}",
        f"t=-1,{MAC}",
        f"t=1e9,{MAC}",
        f"t={'9' * 40},{MAC}",
        f"t=١٢٣,{MAC}",
        f"{STAMP},{STAMP},{MAC}",
        f"{STAMP},v0={MAC[3:]}",
        f"{STAMP},{MAC}0",
        f"{STAMP},{MAC.upper()}",
        f"{STAMP},v1=\udcff",
        GOOD.replace("v1=", "v1= "),
        sign(body_of(), OTHER),
        sign(body_of(), ""),
        "x" * 100_000,
    ],
)
def test_a_header_without_a_valid_signature_is_rejected(header: str) -> None:
    assert check_rejected(body_of(), header) == "invalid-signature"


@given(st.text(max_size=200))
def test_a_random_text_as_the_signature_header_is_rejected(header: str) -> None:
    assert check_rejected(body_of(), header) == "invalid-signature"


@given(st.data())
def test_a_changed_webhook_body_is_rejected(data: st.DataObject) -> None:
    body = body_of()
    at = data.draw(st.integers(0, len(body) - 1))
    flipped = body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :]
    assert check_rejected(flipped, GOOD) == "invalid-signature"
    assert check_rejected(body[:at], GOOD) == "invalid-signature"


def test_without_a_secret_no_signature_is_accepted() -> None:
    with pytest.raises(InvalidRequest):
        webhooks.parse_event(body_of(), sign(body_of(), ""), [], live=False, now=NOW)


def test_a_webhook_body_that_is_too_large_or_not_base64_is_rejected() -> None:
    large = b" " * (MAX_BODY + 1)
    assert check_rejected(large, sign(large)) == "bad-request"
    assert check_rejected(None, GOOD) == "bad-request"


@pytest.mark.parametrize("live", [True, False])
def test_a_stripe_event_of_the_other_mode_is_rejected(live: bool) -> None:
    body = body_of(livemode=not live)
    assert check_rejected(body, sign(body), live=live) == "wrong-mode"
    assert parse(body_of(livemode=live), sign(body_of(livemode=live)), live=live)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'"event"',
        b'{"object": "event"}',
        b'{"object": 7}',
        b"[" * 10_000,
        json.dumps({**EVENT, "id": 7}).encode(),
        json.dumps({**EVENT, "data": {"object": {"customer": 7}}}).encode(),
    ],
)
def test_a_signed_body_that_is_not_an_event_is_rejected_as_bad_request(text: bytes) -> None:
    assert check_rejected(text, sign(text)) == "bad-request"


@pytest.mark.parametrize("kind", ["payout.paid", "customer.created", "v9.unknown", ""])
def test_stripe_events_of_unhandled_types_change_no_plan(kind: str) -> None:
    body = body_of(type=kind, data={"object": {"customer": {"id": ["cus_1"]}}})
    event = parse(body, sign(body))
    assert event is not None
    assert event.customer_id is None


def test_a_thin_stripe_event_is_ignored() -> None:
    body = json.dumps({"id": "evt_1", "object": "v2.core.event", "type": "v1.x"}).encode()
    assert parse(body, sign(body)) is None


@pytest.mark.parametrize("data", [{}, {"object": {}}, {"object": {"customer": None}}])
def test_a_stripe_event_without_a_customer_changes_no_plan(data: dict[str, Any]) -> None:
    body = body_of(data=data)
    event = parse(body, sign(body))
    assert event is not None
    assert event.customer_id is None
