"""Checkout, payments, the portal, and cancelling and resuming a subscription."""

from datetime import timedelta

import httpx
import pytest

from geminichat.operations import sync_subscription
from geminichat.runtime import clock
from geminichat.tables.users import User
from tests.support.lambdas import Api
from tests.support.person import Person, check_problem
from tests.support.standins import Stripe
from tests.support.wire import UPDATE, Wire


def test_a_payment_gives_the_pro_plan(payer: Person) -> None:
    reply = payer.checkout()
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json["success"] is True
    assert reply.json["url"] == reply.data["url"]
    assert set(reply.data) == {"url", "sessionId", "expiresAt"}
    assert payer.status() == {
        "plan": "basic",
        "status": "none",
        "grantedUntil": None,
        "currentPeriodEnd": None,
        "cancelAtPeriodEnd": False,
        "usage": payer.status()["usage"],
    }

    payer.pay()
    assert payer.plan() == "basic"
    payer.deliver_events()
    status = payer.status()
    assert (status["plan"], status["status"]) == ("pro", "active")
    assert status["currentPeriodEnd"] == f"{payer.period_end():%Y-%m-%dT%H:%M:%S}.000Z"
    assert status["cancelAtPeriodEnd"] is False
    assert status["usage"]["limit"] is None


def test_the_daily_limit_ends_at_once_when_pro_begins(payer: Person) -> None:
    room = payer.open_room()
    assert [payer.send(room).status for _ in range(6)] == [202] * 5 + [429]
    payer.buy()
    assert payer.send(room).status == 202


def test_the_daily_limit_applies_again_at_once_when_pro_ends(subscriber: Person) -> None:
    room = subscriber.open_room()
    assert [subscriber.send(room).status for _ in range(6)] == [202] * 6
    assert subscriber.change("cancel") == "basic"
    assert subscriber.send(room).status == 429


def test_a_second_checkout_returns_the_same_open_page(payer: Person) -> None:
    assert payer.checkout().data == payer.checkout().data
    assert (
        len(
            payer.stripe.get("/v1/checkout/sessions", limit=100, customer=payer.customer_id())[
                "data"
            ]
        )
        == 1
    )


def test_an_expired_checkout_page_is_replaced_by_a_new_one(payer: Person) -> None:
    first = payer.checkout().data
    payer.stripe.ask("POST", "/_clock", {"advance": 0})
    payer.stripe.api.post(f"/v1/checkout/sessions/{first['sessionId']}/expire")
    second = payer.checkout().data
    assert second["sessionId"] != first["sessionId"]
    assert payer.checkout().data == second


def test_a_declined_card_does_not_change_the_basic_plan(payer: Person) -> None:
    reply = payer.checkout()
    payer.undelivered += payer.stripe.act(reply.data["sessionId"], "decline")
    payer.deliver_events()
    assert payer.plan() == "basic"
    assert payer.checkout().data == reply.data


def test_a_subscriber_cannot_pay_again(subscriber: Person) -> None:
    check_problem(subscriber.checkout(), 409, "already-subscribed")


def test_a_user_who_has_just_paid_cannot_pay_again_before_the_event_arrives(payer: Person) -> None:
    payer.pay()
    assert payer.plan() == "basic"
    assert payer.checkout().status == 409
    assert payer.plan() == "pro"  # the request has synced the subscription
    assert len(payer.at_stripe()) == 1


@pytest.mark.parametrize("move", ["fail-payment", "pause"])
def test_a_user_with_an_overdue_or_paused_subscription_cannot_subscribe(
    subscriber: Person, move: str
) -> None:
    subscriber.change(move)
    reply = subscriber.checkout()
    assert reply.status == 409
    assert "POST /subscription/portal" in reply.json["detail"]


def test_a_user_subscribes_again_with_the_same_customer(subscriber: Person) -> None:
    customer = subscriber.customer_id()
    assert subscriber.change("cancel") == "basic"
    assert subscriber.buy() == "pro"
    assert subscriber.customer_id() == customer
    assert len(subscriber.customers()) == 1


def test_late_events_about_an_ended_subscription_do_not_end_the_next_subscription(
    subscriber: Person,
) -> None:
    subscriber.move("cancel")
    late, subscriber.undelivered = subscriber.undelivered, []
    subscriber.buy()
    subscriber.undelivered = late
    subscriber.deliver_events()
    assert subscriber.plan() == "pro"


def test_a_user_without_a_proven_identity_cannot_subscribe(api: Api, stripe: Stripe) -> None:
    check_problem(Person.new(api, stripe).checkout(), 403, "identity-not-proven")
    assert stripe.requests() == []


def test_checkout_uses_the_verified_email_address_and_does_not_ask_for_another(
    payer: Person,
) -> None:
    page = payer.checkout().data["url"]
    [customer] = payer.customers()
    assert customer["email"] == payer.identity.value
    assert 'name="email"' not in httpx.get(page).text


def test_a_stripe_customer_gets_an_email_address_that_is_verified_later(
    payer: Person, stripe: Stripe
) -> None:
    email = payer.identity.value
    user = User.get(payer.id)
    user.update(
        [User.email.remove(), User.email_verified.set(False), User.mobile_verified.set(True)]
    )
    payer.checkout()
    assert payer.customers()[0]["email"] is None
    user.update([User.email.set(email), User.email_verified.set(True)])
    payer.checkout()
    assert payer.customers()[0]["email"] == email
    stripe.ask("DELETE", "/_requests")
    payer.checkout()
    assert stripe.calls("POST", f"/v1/customers/{payer.customer_id()}") == []


def test_every_request_that_creates_an_object_at_stripe_has_an_idempotency_key(
    payer: Person,
) -> None:
    payer.stripe.reset()
    payer.pay()
    for path in ("/v1/customers", "/v1/checkout/sessions"):
        [call] = payer.stripe.calls("POST", path)
        assert payer.id in call["idempotencyKey"]


def test_a_bank_debit_gives_pro_when_it_settles(payer: Person) -> None:
    reply = payer.checkout()
    session = reply.data["sessionId"]
    payer.undelivered += payer.stripe.act(session, "debit")
    payer.deliver_events()
    assert (payer.plan(), payer.status()["status"]) == ("basic", "incomplete")
    assert payer.checkout().status == 409
    payer.undelivered += payer.stripe.act(session, "debit-paid")
    payer.deliver_events()
    assert payer.plan() == "pro"


def test_a_failed_bank_debit_does_not_change_the_basic_plan(payer: Person) -> None:
    session = payer.checkout().data["sessionId"]
    payer.undelivered += payer.stripe.act(session, "debit")
    payer.undelivered += payer.stripe.act(session, "debit-failed")
    payer.deliver_events()
    assert (payer.plan(), payer.status()["status"]) == ("basic", "incomplete_expired")
    assert payer.checkout().status == 200


# ── The portal, cancel and resume ────────────────────────────────────────────────────────────────


def test_a_user_keeps_pro_until_the_period_of_a_cancelled_subscription_ends(
    subscriber: Person,
) -> None:
    reply = subscriber.post("/subscription/cancel")
    assert reply.status == 200
    assert (reply.data["plan"], reply.data["cancelAtPeriodEnd"]) == ("pro", True)
    ends = subscriber.period_end()
    assert subscriber.plan(ends - timedelta(seconds=1)) == "pro"
    assert subscriber.plan(ends) == "basic"  # although no event has arrived
    room = subscriber.open_room()
    sent = [subscriber.send(room, at=ends).status for _ in range(6)]
    assert sent == [202] * 5 + [429]


def test_a_resumed_subscription_is_renewed(subscriber: Person) -> None:
    subscriber.post("/subscription/cancel")
    reply = subscriber.post("/subscription/resume")
    assert (reply.status, reply.data["cancelAtPeriodEnd"]) == (200, False)
    assert subscriber.plan(subscriber.period_end()) == "pro"


def test_a_cancellation_in_the_portal_can_be_undone_with_the_api(subscriber: Person) -> None:
    url = subscriber.post("/subscription/portal").data["url"]
    before = len(subscriber.stripe.events())
    form = {"do": "cancel", "subscription": subscriber.subscription_id()}
    assert subscriber.stripe.api.post(url, data=form).status_code == 303
    subscriber.undelivered = [one["event"]["id"] for one in subscriber.stripe.events()[before:]]
    subscriber.deliver_events()
    assert subscriber.status()["cancelAtPeriodEnd"] is True
    assert subscriber.plan(subscriber.period_end()) == "basic"
    assert subscriber.post("/subscription/resume").status == 200
    assert subscriber.plan(subscriber.period_end()) == "pro"


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_a_repeated_cancel_or_resume_has_the_same_result(subscriber: Person, verb: str) -> None:
    replies = [subscriber.post(f"/subscription/{verb}") for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].data == replies[1].data


@pytest.mark.parametrize(("verb", "ends"), [("cancel", True), ("resume", False)])
def test_cancel_and_resume_sync_again_after_a_concurrent_sync(
    subscriber: Person, wire: Wire, verb: str, ends: bool
) -> None:
    subscriber.post("/subscription/cancel")
    customer = subscriber.customer_id()

    def sync_concurrently() -> None:
        sync_subscription.sync(subscriber.subscription(), customer, clock.now())

    raced = wire.cut(UPDATE, "meanwhile", do=sync_concurrently, holding=("revision",))
    assert subscriber.post(f"/subscription/{verb}").data["cancelAtPeriodEnd"] is ends
    assert raced.happened == 1
    assert subscriber.status()["cancelAtPeriodEnd"] is ends


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_cancel_and_resume_without_a_subscription_are_a_409(payer: Person, verb: str) -> None:
    check_problem(payer.post(f"/subscription/{verb}"), 409, "no-subscription")


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_cancel_and_resume_detect_a_subscription_that_ended_without_an_event(
    subscriber: Person, verb: str
) -> None:
    subscriber.move("cancel")
    assert subscriber.plan() == "pro"
    assert subscriber.post(f"/subscription/{verb}").status == 409
    assert subscriber.plan() == "basic"


def test_the_portal_without_a_customer_is_a_409(payer: Person) -> None:
    check_problem(payer.post("/subscription/portal"), 409, "no-customer")


def test_stripe_redirects_to_pages_of_the_api(api: Api, payer: Person) -> None:
    asked = payer.checkout().data["sessionId"]
    session = payer.stripe.get(f"/v1/checkout/sessions/{asked}")
    assert session["success_url"] == (
        "https://api.example/subscription/success?session_id={CHECKOUT_SESSION_ID}"
    )
    assert session["cancel_url"] == "https://api.example/subscription/cancel"
    for path, words in (("success?session_id=cs_1", "Thank you"), ("cancel", "Nothing was paid")):
        reply = api.get(f"/subscription/{path}")
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.headers["content-security-policy"].startswith("default-src 'none'")
        assert words in reply.text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/subscribe/pro", 403, "identity-not-proven"),
        ("/subscription/portal", 409, "no-customer"),
        ("/subscription/cancel", 409, "no-subscription"),
        ("/subscription/resume", 409, "no-subscription"),
    ],
)
def test_an_unproven_user_gets_no_stripe_page_and_causes_no_call_to_stripe(
    path: str, status: int, code: str, api: Api, stripe: Stripe
) -> None:
    stranger = Person.new(api, stripe)
    stripe.reset()
    check_problem(stranger.post(path), status, code)
    assert stripe.requests() == []
