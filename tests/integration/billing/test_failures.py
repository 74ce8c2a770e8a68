"""Failures of Stripe and crashes at every step of a purchase: the user can pay exactly once."""

import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.billing import deliver
from tests.support.http_api import Reply
from tests.support.lagging_index import delay_index
from tests.support.person import Person, check_problem
from tests.support.standins import Stripe
from tests.support.template import Values
from tests.support.wire import Died, Wire

CALLS = [
    "GET /v1/customers/search",
    "POST /v1/customers",
    "GET /v1/checkout/sessions",
    "GET /v1/subscriptions",
    "POST /v1/checkout/sessions",
]
FAULTS = [
    {"kind": "error", "status": 500},
    {"kind": "error", "status": 500, "done": True},
    {"kind": "error", "status": 503},
    {"kind": "error", "status": 429},
    {"kind": "error", "status": 401},
    {"kind": "drop"},
    {"kind": "drop", "done": True},
    {"kind": "garbage"},
    {"kind": "garbage", "done": True},
]


def name_fault(fault: dict[str, object]) -> str:
    return "-".join(str(value) for value in fault.values())


def assert_can_pay_once(payer: Person) -> None:
    """Check that the user can pay, with one customer, one Checkout page and one subscription."""
    assert payer.buy() == "pro"
    assert len(payer.customers()) == 1
    sessions = payer.stripe.get("/v1/checkout/sessions", customer=payer.customer_id(), limit=100)
    assert len([one for one in sessions["data"] if one["status"] != "expired"]) == 1
    assert len(payer.at_stripe()) == 1


@pytest.mark.parametrize("fault", FAULTS, ids=name_fault)
@pytest.mark.parametrize("call", CALLS)
def test_a_user_can_pay_once_after_a_failure_of_any_call_to_stripe(
    payer: Person, call: str, fault: dict[str, object]
) -> None:
    payer.stripe.fault(**fault, match=call)  # type: ignore[arg-type]
    reply = payer.checkout()
    assert reply.status in (200, 502), reply.text
    if reply.status == 502:
        assert reply.json["type"] == "urn:geminichat:problem:payment-provider"
    assert payer.plan() == "basic"
    assert_can_pay_once(payer)


@pytest.mark.parametrize("fault", FAULTS, ids=name_fault)
def test_a_checkout_is_a_502_during_an_outage_of_stripe_and_succeeds_after_it(
    payer: Person, fault: dict[str, object]
) -> None:
    payer.stripe.fault(**fault, match="/v1/", times="always")  # type: ignore[arg-type]
    for _ in range(2):
        reply = payer.checkout()
        assert (reply.status, reply.json["type"]) == (
            502,
            "urn:geminichat:problem:payment-provider",
        )
    payer.stripe.reset()
    assert_can_pay_once(payer)


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("call", ["POST /v1/customers", "POST /v1/checkout/sessions"])
def test_a_checkout_is_a_409_while_stripe_creates_an_object_slowly(
    payer: Person, call: str, done: bool
) -> None:
    payer.stripe.fault("stall", seconds=30, done=done, match=call)
    began = time.monotonic()
    reply = payer.checkout()
    assert reply.status == (
        200 if done else 409
    )  # the retry finds the object, or the idempotency key is in use
    assert time.monotonic() - began < 20
    if not done:  # the idempotency key is in use until the first request ends
        check_problem(payer.checkout(), 409, "payment-in-progress")
    assert len(payer.customers()) <= 1


@pytest.mark.parametrize("call", CALLS)
def test_a_checkout_ends_in_time_if_stripe_answers_byte_by_byte(payer: Person, call: str) -> None:
    payer.stripe.fault("drip", match=call)
    began = time.monotonic()
    assert payer.checkout().status in (200, 409, 502)
    assert time.monotonic() - began < 8
    payer.stripe.reset()
    assert_can_pay_once(payer)


@pytest.mark.exhaustive
def test_the_sum_of_all_delays_in_a_checkout_stays_below_the_limit_of_api_gateway(
    payer: Person,
) -> None:
    for call in CALLS:
        if call != "GET /v1/subscriptions":  # this call has one try and a short deadline
            payer.stripe.fault("stall", seconds=9, done=True, match=call)
        payer.stripe.fault("stall", seconds=1.2 if "subsc" in call else 3.5, done=True, match=call)
    began = time.monotonic()
    assert payer.checkout().status == 502
    assert 20 < time.monotonic() - began < 29
    payer.stripe.reset()
    assert_can_pay_once(payer)


def test_a_customer_that_was_not_stored_is_found_after_the_idempotency_key_expired(
    payer: Person,
) -> None:
    payer.checkout()
    first = payer.customer_id()
    payer.subscription().delete()
    payer.stripe.advance(2 * 86_400)  # Stripe has forgotten the idempotency key
    assert payer.checkout().status == 200
    assert payer.customer_id() == first
    assert len(payer.customers()) == 1


def test_an_expired_checkout_page_with_the_same_idempotency_key_is_not_returned(
    payer: Person,
) -> None:
    first = payer.checkout().data["sessionId"]
    stored = payer.subscription()
    stored.update(
        [type(stored).checkout_attempt.set(0)]
    )  # simulates that the attempt was not stored
    payer.stripe.api.post(f"/v1/checkout/sessions/{first}/expire").raise_for_status()
    assert payer.checkout().data["sessionId"] != first


def test_concurrent_checkouts_create_one_customer_and_one_checkout_page(payer: Person) -> None:
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(payer.checkout())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = {reply.data["sessionId"] for reply in replies if reply.status == 200}
    assert {reply.status for reply in replies} <= {200, 409}
    assert len(made) == 1
    assert_can_pay_once(payer)


def list_calls(payer: Person, wire: Wire) -> Iterator[tuple[str, int]]:
    """Yield each DynamoDB call of a checkout: its name, and its number among calls of that name."""
    with wire.watch() as seen:
        assert payer.checkout().status == 200
    counted: dict[str, Iterator[int]] = {}
    for one in seen:
        if one.call.startswith("dynamodb"):
            yield one.call, next(counted.setdefault(one.call, count(1)))


@pytest.mark.parametrize("how", ["dies before", "dies after", "refused", "lost", "late"])
def test_a_user_can_pay_once_after_a_failure_of_any_dynamodb_call(
    payer: Person, stripe: Stripe, wire: Wire, how: str
) -> None:
    steps = list(list_calls(payer, wire))
    assert len(steps) >= 4
    for call, nth in steps:
        other = Person.new_proven(payer.api, stripe)
        wire.reset()
        wire.cut(call, how, nth=nth, times=2 if how in ("refused", "lost", "late") else 1)
        try:
            reply = other.checkout()
            assert reply.status in (200, 500, 503), reply.text
        except Died:
            pass
        wire.deliver_late()
        wire.reset()
        assert_can_pay_once(other)


@pytest.mark.parametrize("verb", ["cancel", "resume"])
@pytest.mark.parametrize("call", ["GET /v1/subscriptions", "POST /v1/subscriptions/"])
@pytest.mark.parametrize("fault", FAULTS, ids=name_fault)
def test_cancel_and_resume_succeed_after_a_failure_of_stripe(
    subscriber: Person, fault: dict[str, object], call: str, verb: str
) -> None:
    if verb == "resume":
        subscriber.post("/subscription/cancel")
    subscriber.stripe.fault(**fault, match=call)  # type: ignore[arg-type]
    reply = subscriber.post(f"/subscription/{verb}")
    assert reply.status in (200, 502), reply.text
    subscriber.stripe.reset()
    again = subscriber.post(f"/subscription/{verb}")
    assert (again.status, again.data["cancelAtPeriodEnd"]) == (200, verb == "cancel")
    assert subscriber.plan() == "pro"


@pytest.mark.parametrize("fault", FAULTS, ids=name_fault)
def test_the_portal_is_a_502_while_stripe_fails(
    subscriber: Person, fault: dict[str, object]
) -> None:
    subscriber.stripe.fault(**fault, match="billing_portal", times="always")  # type: ignore[arg-type]
    assert subscriber.post("/subscription/portal").status == 502
    subscriber.stripe.reset()
    assert subscriber.post("/subscription/portal").status == 200


@pytest.mark.parametrize(
    ("route", "call"),
    [
        ("/subscribe/pro", "POST /v1/checkout/sessions"),
        ("/subscription/portal", "POST /v1/billing_portal/sessions"),
        ("/subscription/cancel", "POST /v1/subscriptions/"),
        ("/subscription/resume", "GET /v1/subscriptions"),
    ],
)
def test_a_request_is_a_409_while_its_object_is_locked_at_stripe(
    payer: Person, route: str, call: str
) -> None:
    if route != "/subscribe/pro":
        payer.buy()
    payer.stripe.fault("error", status=429, code="lock_timeout", match=call, times=2)
    check_problem(payer.post(route), 409, "payment-in-progress")
    payer.stripe.reset()
    assert payer.post(route).status == 200


def test_an_event_about_an_object_that_is_locked_at_stripe_is_retried(payer: Person) -> None:
    payer.pay()
    event_id = payer.undelivered[-1]
    payer.stripe.fault("error", status=429, code="lock_timeout", match="GET /v1/subscriptions")
    check_problem(deliver(payer.api, payer.stripe, event_id), 409, "payment-in-progress")
    assert deliver(payer.api, payer.stripe, event_id).status == 200
    assert payer.plan() == "pro"


@pytest.mark.both_engines
def test_a_payment_gives_pro_even_if_the_index_does_not_show_the_customer_yet(
    payer: Person, wire: Wire, values: Values
) -> None:
    with delay_index(wire, values, "SubscriptionsTable", "by-customer"):
        assert payer.buy() == "pro"
