"""Attempts to get pro without paying, and unusual cases of paying users."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from geminichat.clients import payments
from infra.local.standins.stripe import PRO_PRICE
from tests.support.billing import deliver, event, post, reconcile, sign_body
from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.parallel import wait_until
from tests.support.person import Person, check_problem
from tests.support.standins import Stripe


def create_customer(stripe: Stripe, **metadata: str) -> str:
    """Create a customer at Stripe without the API, and return its id."""
    form = {f"metadata[{name}]": value for name, value in metadata.items()}
    made = stripe.api.post("/v1/customers", data=form)
    return str(made.raise_for_status().json()["id"])


def buy(stripe: Stripe, customer_id: str, **metadata: str) -> dict[str, str]:
    """Subscribe a customer without the API; return each new event's id and type."""
    form = {
        "mode": "subscription",
        "customer": customer_id,
        "line_items[0][price]": PRO_PRICE,
        "success_url": "https://front.example",
    }
    form |= {f"subscription_data[metadata][{name}]": text for name, text in metadata.items()}
    session = stripe.api.post("/v1/checkout/sessions", data=form).raise_for_status().json()
    return stripe.act(session["id"], "pay")


def make_metadata(user_id: str) -> dict[str, str]:
    """Return the metadata that the API gives to the objects of a user."""
    return payments._metadata(user_id)


# ── Other users ───────────────────────────────────────────────────────────────────────────────────


def test_a_payment_with_another_users_email_counts_for_the_user_of_the_checkout_page(
    api: Api, stripe: Stripe
) -> None:
    ann, bob = Person.new_proven(api, stripe), Person.new_proven(api, stripe)
    bob.checkout()
    ann.undelivered += stripe.act(ann.checkout().data["sessionId"], "pay", "bob@example.com")
    ann.deliver_events()
    assert (ann.plan(), bob.plan()) == ("pro", "basic")


def test_the_metadata_of_a_foreign_customer_changes_no_plan(
    subscriber: Person, stripe: Stripe
) -> None:
    before = subscriber.status()
    stranger = create_customer(stripe, **make_metadata(subscriber.id))
    events = buy(stripe, stranger)
    [subscription] = stripe.get("/v1/subscriptions", customer=stranger)["data"]
    events |= stripe.move(subscription["id"], "cancel")
    for event_id in events:
        assert deliver(subscriber.api, stripe, event_id).status == 200
    reconcile()
    assert subscriber.status() == before
    assert subscriber.customer_id() != stranger


def test_the_metadata_of_a_foreign_subscription_changes_no_plan(
    payer: Person, stripe: Stripe
) -> None:
    for event_id in buy(stripe, create_customer(stripe), **make_metadata(payer.id)):
        assert deliver(payer.api, stripe, event_id).status == 200
    reconcile()
    assert payer.plan() == "basic"
    assert payer.subscription().stripe_customer_id is None


def test_a_customer_of_another_stage_on_the_same_stripe_account_is_ignored(
    payer: Person, stripe: Stripe
) -> None:
    other = {"user_id": payer.id, "stage": "other"}
    for event_id in buy(stripe, create_customer(stripe, **other), **other):
        assert deliver(payer.api, stripe, event_id).status == 200
    reconcile()
    assert payer.plan() == "basic"


def test_an_event_about_an_unknown_customer_is_retried(api: Api) -> None:
    """Stripe must keep the event, because the operator may have set another account's key."""
    body = event(data={"object": {"object": "subscription", "customer": "cus_unknown"}})
    check_problem(post(api, body, sign_body(body)), 502, "payment-provider")


def test_the_plan_follows_the_subscription_at_stripe_and_not_the_contents_of_an_event(
    subscriber: Person,
) -> None:
    subscriber.move("cancel")
    untrue = {"object": "subscription", "customer": subscriber.customer_id(), "status": "active"}
    body = event(data={"object": untrue})
    assert post(subscriber.api, body, sign_body(body)).status == 200
    assert subscriber.plan() == "basic"


@pytest.mark.parametrize("kind", ["charge.refunded", "charge.dispute.created"])
def test_a_refund_or_a_dispute_does_not_end_pro_while_the_subscription_is_active(
    subscriber: Person, kind: str
) -> None:
    body = event(type=kind, data={"object": {"customer": subscriber.customer_id()}})
    assert post(subscriber.api, body, sign_body(body)).status == 200
    assert subscriber.plan() == "pro"


# ── Two subscriptions ────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def twice(subscriber: Person) -> Person:
    """A user with two subscriptions, one of them created without the API."""
    subscriber.stripe.advance(60)
    subscriber.undelivered += buy(subscriber.stripe, subscriber.customer_id())
    subscriber.deliver_events()
    assert len(subscriber.at_stripe()) == 2
    return subscriber


def test_cancel_ends_both_subscriptions_of_a_user(twice: Person) -> None:
    reply = twice.post("/subscription/cancel")
    assert (reply.status, reply.data["cancelAtPeriodEnd"]) == (200, True)
    assert [one["cancel_at_period_end"] for one in twice.at_stripe()] == [True, True]
    assert twice.plan(twice.period_end() - timedelta(seconds=1)) == "pro"
    assert twice.plan(twice.period_end() + timedelta(seconds=1)) == "basic"


def test_only_one_of_two_cancelled_subscriptions_is_resumed(twice: Person) -> None:
    twice.post("/subscription/cancel")
    reply = twice.post("/subscription/resume")
    assert (reply.status, reply.data["cancelAtPeriodEnd"]) == (200, False)
    assert sorted(one["cancel_at_period_end"] for one in twice.at_stripe()) == [False, True]
    assert twice.post("/subscription/resume").status == 200
    assert sorted(one["cancel_at_period_end"] for one in twice.at_stripe()) == [False, True]


def test_a_user_with_two_subscriptions_keeps_pro_when_one_ends(twice: Person) -> None:
    assert twice.change("cancel") == "pro"


def test_a_user_who_pays_twice_is_reported_to_the_operator(twice: Person) -> None:
    before = reconcile()["twice"]
    assert before >= 1
    twice.post("/subscription/cancel")
    assert reconcile()["twice"] == before - 1


@pytest.fixture
def dearer(stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> str:
    """Replace the price of the pro plan by a higher price; return the new price's id."""
    old = stripe.get(f"/v1/prices/{PRO_PRICE}")
    form: dict[str, Any] = {
        "product": old["product"],
        "currency": "usd",
        "unit_amount": 1900,
        "recurring[interval]": "month",
    }
    price: str = stripe.api.post("/v1/prices", data=form).raise_for_status().json()["id"]
    monkeypatch.setenv("STRIPE_PRICE", price)
    return price


def test_a_subscription_at_an_older_price_stays_pro(
    subscriber: Person, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("dearer")
    subscriber.change("end-period")
    reconcile()
    assert subscriber.plan() == "pro"
    assert subscriber.checkout().status == 409


def test_a_checkout_page_at_an_older_price_expires_when_a_new_page_is_opened(
    payer: Person, request: pytest.FixtureRequest
) -> None:
    old = payer.checkout().data["sessionId"]
    dearer = request.getfixturevalue("dearer")
    new = payer.checkout().data["sessionId"]
    sessions = {
        one["id"]: one["status"]
        for one in payer.stripe.get("/v1/checkout/sessions", customer=payer.customer_id())["data"]
    }
    assert sessions == {old: "expired", new: "open"}
    payer.pay()
    [subscription] = payer.at_stripe()
    assert subscription["items"]["data"][0]["price"]["id"] == dearer


def test_an_older_checkout_page_that_is_paid_at_the_last_moment_leaves_one_subscription(
    payer: Person, request: pytest.FixtureRequest
) -> None:
    old = payer.checkout().data["sessionId"]
    request.getfixturevalue("dearer")
    stripe = payer.stripe
    stripe.fault("hold", name="listed", match="GET /v1/checkout/sessions")
    replies: list[Reply] = []
    asking = threading.Thread(target=lambda: replies.append(payer.checkout()), daemon=True)
    asking.start()
    wait_until(lambda: stripe.holds() == ["listed"])
    payer.undelivered += stripe.act(old, "pay")
    stripe.release("listed")
    asking.join(20)
    assert [reply.status for reply in replies] == [409]
    assert len(payer.at_stripe()) == 1


def test_a_user_with_an_unpaid_subscription_cannot_buy_a_second_one(
    subscriber: Person,
) -> None:
    subscriber.stripe.ask("PATCH", "/_ledger", {"givesUp": "unpaid"})
    subscriber.move("fail-payment")
    subscriber.change("give-up")
    reply = subscriber.checkout()
    assert reply.status == 409
    assert "POST /subscription/portal" in reply.json["detail"]
    subscriber.change("pay-up")
    assert (subscriber.plan(), len(subscriber.at_stripe())) == ("pro", 1)


# ── Lost events ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("verb", "ends"), [("cancel", True), ("resume", False)])
def test_a_purchase_can_be_cancelled_and_resumed_before_its_event_has_arrived(
    payer: Person, verb: str, ends: bool
) -> None:
    payer.pay()
    reply = payer.post(f"/subscription/{verb}")
    assert (reply.status, reply.data["plan"]) == (200, "pro")
    assert reply.data["cancelAtPeriodEnd"] is ends


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_a_user_who_never_paid_cannot_cancel_or_resume(payer: Person, verb: str) -> None:
    payer.checkout()
    assert payer.post(f"/subscription/{verb}").status == 409


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "unknown"])
def test_a_customer_that_stripe_does_not_have_is_replaced_by_a_new_one(
    subscriber: Person, stripe: Stripe, is_deleted: bool
) -> None:
    """Stripe has other customers after a switch to live mode or to another account."""
    first = subscriber.customer_id()
    if is_deleted:
        stripe.api.delete(f"/v1/customers/{first}").raise_for_status()
    else:
        stripe.forget_customer(first)
    check_problem(subscriber.post("/subscription/portal"), 409, "no-customer")
    check_problem(subscriber.post("/subscription/cancel"), 409, "no-subscription")
    assert subscriber.plan() == "basic"
    assert subscriber.buy() == "pro"
    assert subscriber.customer_id() != first


def test_a_customer_of_test_mode_is_replaced_in_live_mode(
    subscriber: Person, stripe: Stripe
) -> None:
    first = subscriber.customer_id()
    message = (
        f"No such customer: '{first}'; a similar object exists in test mode, but a live mode key "
        "was used to make this request."
    )
    missing: dict[str, Any] = {"code": "resource_missing", "message": message, "times": "always"}
    stripe.fault("error", status=404, match=f"GET /v1/customers/{first}", **missing)
    stripe.fault("error", status=400, match="POST /v1/billing_portal", **missing)
    stripe.fault("error", status=400, match=f"GET /v1/subscriptions customer={first}", **missing)
    check_problem(subscriber.post("/subscription/portal"), 409, "no-customer")
    assert subscriber.checkout().status == 200
    assert subscriber.customer_id() != first


@pytest.mark.parametrize("status", [400, 403])
def test_a_customer_is_created_once_even_if_stripes_search_is_unavailable(
    payer: Person, stripe: Stripe, status: int
) -> None:
    stripe.fault("error", status=status, match="GET /v1/customers/search", times="always")
    stripe.fault("drop", done=True, match="POST /v1/customers", times=2)
    assert payer.checkout().status == 502
    assert payer.buy() == "pro"
    assert len(payer.customers()) == 1
