"""What someone who wants pro for nothing tries, and what chance does to those who pay."""

import threading
from datetime import timedelta
from typing import Any

import pytest

from geminichat.clients import payments
from infra.local.standins.stripe import PRO_PRICE
from infra.local.standins.stripe.driver import Stripe
from tests.support.billing import deliver, event, post, reconcile, signed
from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.parallel import wait_until
from tests.support.person import Person


def customer(stripe: Stripe, **metadata: str) -> str:
    """Make a customer at Stripe that is not ours."""
    form = {f"metadata[{name}]": value for name, value in metadata.items()}
    made = stripe._api.post("/v1/customers", data=form)
    return str(made.raise_for_status().json()["id"])


def bought(stripe: Stripe, customer_id: str, **metadata: str) -> dict[str, str]:
    """Let a customer subscribe past our API; return the events of it."""
    form = {
        "mode": "subscription",
        "customer": customer_id,
        "line_items[0][price]": PRO_PRICE,
        "success_url": "https://front.example",
    }
    form |= {f"subscription_data[metadata][{name}]": text for name, text in metadata.items()}
    session = stripe._api.post("/v1/checkout/sessions", data=form).raise_for_status().json()
    return stripe.act(session["id"], "pay")


def ours(user_id: str) -> dict[str, str]:
    """Return the metadata that we give what is made for a user."""
    return payments._metadata(user_id)


# ── Somebody else's ──────────────────────────────────────────────────────────────────────────────


def test_who_pays_another_users_page_pays_for_that_user(api: Api, stripe: Stripe) -> None:
    ann, bob = Person.new(api, stripe), Person.new(api, stripe)
    bob.checkout()
    ann.news += stripe.act(ann.checkout().data["sessionId"], "pay", "bob@example.com")
    ann.take_news()
    assert (ann.plan(), bob.plan()) == ("pro", "basic")


def test_a_customer_whose_metadata_names_another_user_gives_them_nothing(
    subscriber: Person, stripe: Stripe
) -> None:
    before = subscriber.status()
    stranger = customer(stripe, **ours(subscriber.id))
    events = bought(stripe, stranger)
    [subscription] = stripe.get("/v1/subscriptions", customer=stranger)["data"]
    events |= stripe.move(subscription["id"], "cancel")
    for event_id in events:
        assert deliver(subscriber.api, stripe, event_id).status == 200
    reconcile()
    assert subscriber.status() == before
    assert subscriber.customer_id() != stranger


def test_a_subscription_whose_metadata_names_another_user_gives_them_nothing(
    payer: Person, stripe: Stripe
) -> None:
    for event_id in bought(stripe, customer(stripe), **ours(payer.id)):
        assert deliver(payer.api, stripe, event_id).status == 200
    reconcile()
    assert payer.plan() == "basic"
    assert payer.stored().stripe_customer_id is None


def test_a_customer_of_another_stage_on_the_same_account_is_none_of_ours(
    payer: Person, stripe: Stripe
) -> None:
    other = {"user_id": payer.id, "stage": "other"}
    for event_id in bought(stripe, customer(stripe, **other), **other):
        assert deliver(payer.api, stripe, event_id).status == 200
    reconcile()
    assert payer.plan() == "basic"


def test_a_customer_that_our_key_does_not_know_has_the_event_come_again(api: Api) -> None:
    """The key is another account's: an operator's mistake, which must not swallow the news."""
    body = event(data={"object": {"object": "subscription", "customer": "cus_unknown"}})
    reply = post(api, body, signed(body))
    assert (reply.status, reply.json["type"]) == (502, "urn:geminichat:problem:payment-provider")


def test_what_an_event_claims_is_not_believed(subscriber: Person) -> None:
    subscriber.move("cancel")
    claims = {"object": "subscription", "customer": subscriber.customer_id(), "status": "active"}
    body = event(data={"object": claims})
    assert post(subscriber.api, body, signed(body)).status == 200
    assert subscriber.plan() == "basic"


def test_every_event_of_a_life_replayed_after_its_end_grants_nothing(subscriber: Person) -> None:
    subscriber.move("cancel")
    subscriber.take_news()
    for one in subscriber.stripe.events():
        if subscriber.customer_id() in str(one["event"]):
            assert deliver(subscriber.api, subscriber.stripe, one["event"]["id"]).status == 200
    assert subscriber.plan() == "basic"


@pytest.mark.parametrize("kind", ["charge.refunded", "charge.dispute.created"])
def test_money_that_goes_back_changes_no_plan_while_the_subscription_stands(
    subscriber: Person, kind: str
) -> None:
    body = event(type=kind, data={"object": {"customer": subscriber.customer_id()}})
    assert post(subscriber.api, body, signed(body)).status == 200
    assert subscriber.plan() == "pro"


# ── Twice ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def twice(subscriber: Person) -> Person:
    """Someone with two subscriptions: one was made past our API, in the dashboard perhaps."""
    subscriber.stripe.advance(60)
    subscriber.news += bought(subscriber.stripe, subscriber.customer_id())
    subscriber.take_news()
    assert len(subscriber.at_stripe()) == 2
    return subscriber


def test_who_cancels_pays_for_none_of_two_subscriptions_any_more(twice: Person) -> None:
    reply = twice.request("POST", "/subscription/cancel")
    assert (reply.status, reply.data["cancelAtPeriodEnd"]) == (200, True)
    assert [one["cancel_at_period_end"] for one in twice.at_stripe()] == [True, True]
    assert twice.plan(twice.period_end() - timedelta(seconds=1)) == "pro"
    assert twice.plan(twice.period_end() + timedelta(seconds=1)) == "basic"


def test_who_resumes_pays_for_one_of_two_subscriptions_again(twice: Person) -> None:
    twice.request("POST", "/subscription/cancel")
    reply = twice.request("POST", "/subscription/resume")
    assert (reply.status, reply.data["cancelAtPeriodEnd"]) == (200, False)
    assert sorted(one["cancel_at_period_end"] for one in twice.at_stripe()) == [False, True]
    assert twice.request("POST", "/subscription/resume").status == 200
    assert sorted(one["cancel_at_period_end"] for one in twice.at_stripe()) == [False, True]


def test_the_end_of_one_of_two_subscriptions_leaves_pro(twice: Person) -> None:
    twice.move("cancel")
    twice.take_news()
    assert twice.plan() == "pro"


def test_who_pays_twice_is_told_to_the_operator(twice: Person) -> None:
    before = reconcile()["twice"]
    assert before >= 1
    twice.request("POST", "/subscription/cancel")
    assert reconcile()["twice"] == before - 1


@pytest.fixture
def dearer(stripe: Stripe, monkeypatch: pytest.MonkeyPatch) -> str:
    """Another price of the same product, which is the pro plan's from now on."""
    old = stripe.get(f"/v1/prices/{PRO_PRICE}")
    form: dict[str, Any] = {
        "product": old["product"],
        "currency": "usd",
        "unit_amount": 1900,
        "recurring[interval]": "month",
    }
    price: str = stripe._api.post("/v1/prices", data=form).raise_for_status().json()["id"]
    monkeypatch.setenv("STRIPE_PRICE", price)
    return price


def test_who_subscribed_at_an_older_price_stays_pro(
    subscriber: Person, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("dearer")
    subscriber.move("end-period")
    subscriber.take_news()
    reconcile()
    assert subscriber.plan() == "pro"
    assert subscriber.checkout().status == 409


def test_a_page_at_an_older_price_cannot_be_paid_beside_the_new_one(
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


def test_an_older_page_that_is_paid_at_the_last_moment_is_the_one_subscription(
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
    payer.news += stripe.act(old, "pay")
    stripe.release("listed")
    asking.join(20)
    assert [reply.status for reply in replies] == [409]
    assert len(payer.at_stripe()) == 1


def test_who_owes_for_an_unpaid_subscription_settles_it_and_buys_no_second_one(
    subscriber: Person,
) -> None:
    subscriber.stripe.ask("PATCH", "/_ledger", {"givesUp": "unpaid"})
    subscriber.move("fail-payment")
    subscriber.move("give-up")
    subscriber.take_news()
    reply = subscriber.checkout()
    assert reply.status == 409
    assert "POST /subscription/portal" in reply.json["detail"]
    subscriber.move("pay-up")
    subscriber.take_news()
    assert (subscriber.plan(), len(subscriber.at_stripe())) == ("pro", 1)


# ── Unheard ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("verb", "ends"), [("cancel", True), ("resume", False)])
def test_a_purchase_whose_news_has_not_come_can_be_cancelled_and_resumed(
    payer: Person, verb: str, ends: bool
) -> None:
    payer.pay()
    reply = payer.request("POST", f"/subscription/{verb}")
    assert (reply.status, reply.data["plan"]) == (200, "pro")
    assert reply.data["cancelAtPeriodEnd"] is ends


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_who_opened_a_page_and_never_paid_has_nothing_to_cancel_or_resume(
    payer: Person, verb: str
) -> None:
    payer.checkout()
    assert payer.request("POST", f"/subscription/{verb}").status == 409


def test_a_customer_deleted_at_stripe_has_nothing_to_look_after(subscriber: Person) -> None:
    subscriber.stripe._api.delete(f"/v1/customers/{subscriber.customer_id()}").raise_for_status()
    for path, code in (("portal", "no-customer"), ("cancel", "no-subscription")):
        reply = subscriber.request("POST", f"/subscription/{path}")
        assert (reply.status, reply.json["type"]) == (409, f"urn:geminichat:problem:{code}")
    assert subscriber.plan() == "basic"
    subscriber.pay()
    subscriber.take_news()
    assert subscriber.plan() == "pro"
