"""POST /subscribe/pro and what follows from it."""

from datetime import timedelta

import pytest

from tests.support.lambdas import Api
from tests.support.person import Person


def test_paying_makes_the_plan_pro(payer: Person) -> None:
    reply = payer.checkout()
    assert reply.status == 200
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json["success"] is True
    assert reply.json["url"] == reply.data["url"]
    assert set(reply.data) == {"url", "sessionId", "expiresAt"}
    assert payer.status() == {
        "plan": "basic",
        "status": "none",
        "currentPeriodEnd": None,
        "cancelAtPeriodEnd": False,
        "usage": payer.status()["usage"],
    }

    payer.pay()
    assert payer.plan() == "basic"
    payer.take_news()
    status = payer.status()
    assert (status["plan"], status["status"]) == ("pro", "active")
    assert status["currentPeriodEnd"] == f"{payer.period_end():%Y-%m-%dT%H:%M:%S}.000Z"
    assert status["cancelAtPeriodEnd"] is False
    assert status["usage"]["limit"] is None


def test_pro_ends_the_daily_limit_at_once(payer: Person) -> None:
    room = payer.open_room()
    assert [payer.send(room).status for _ in range(6)] == [202] * 5 + [429]
    payer.pay()
    payer.take_news()
    assert payer.send(room).status == 202


def test_the_end_of_pro_brings_the_daily_limit_back_at_once(subscriber: Person) -> None:
    room = subscriber.open_room()
    assert [subscriber.send(room).status for _ in range(6)] == [202] * 6
    subscriber.move("cancel")
    subscriber.take_news()
    assert subscriber.plan() == "basic"
    assert subscriber.send(room).status == 429


def test_an_open_page_is_handed_out_again(payer: Person) -> None:
    assert payer.checkout().data == payer.checkout().data
    assert (
        len(
            payer.stripe.get("/v1/checkout/sessions", limit=100, customer=payer.customer_id())[
                "data"
            ]
        )
        == 1
    )


def test_a_page_that_expired_is_followed_by_a_new_one(payer: Person) -> None:
    first = payer.checkout().data
    payer.stripe.ask("POST", "/_clock", {"advance": 0})
    payer.stripe._api.post(f"/v1/checkout/sessions/{first['sessionId']}/expire")
    second = payer.checkout().data
    assert second["sessionId"] != first["sessionId"]
    assert payer.checkout().data == second


def test_a_declined_card_leaves_basic(payer: Person) -> None:
    reply = payer.checkout()
    payer.news += payer.stripe.act(reply.data["sessionId"], "decline")
    payer.take_news()
    assert payer.plan() == "basic"
    assert payer.checkout().data == reply.data


def test_who_has_a_subscription_cannot_pay_again(subscriber: Person) -> None:
    reply = subscriber.checkout()
    assert (reply.status, reply.json["type"]) == (409, "urn:geminichat:problem:already-subscribed")


def test_who_has_just_paid_cannot_pay_again_before_the_news_comes(payer: Person) -> None:
    payer.pay()
    assert payer.plan() == "basic"
    assert payer.checkout().status == 409
    assert payer.plan() == "pro"  # the lost news was mended on the way
    assert len(payer.at_stripe()) == 1


@pytest.mark.parametrize("move", ["fail-payment", "pause"])
def test_a_subscription_in_trouble_is_settled_and_not_bought_twice(
    subscriber: Person, move: str
) -> None:
    subscriber.move(move)
    subscriber.take_news()
    reply = subscriber.checkout()
    assert reply.status == 409
    assert "POST /subscription/portal" in reply.json["detail"]


def test_after_the_end_one_can_subscribe_again_with_the_same_customer(subscriber: Person) -> None:
    customer = subscriber.customer_id()
    subscriber.move("cancel")
    subscriber.take_news()
    assert subscriber.plan() == "basic"
    subscriber.pay()
    subscriber.take_news()
    assert subscriber.plan() == "pro"
    assert subscriber.customer_id() == customer
    assert len(subscriber.customers()) == 1


def test_late_news_of_an_ended_subscription_does_not_end_the_next_one(subscriber: Person) -> None:
    subscriber.move("cancel")
    late, subscriber.news = subscriber.news, []
    subscriber.pay()
    subscriber.take_news()
    subscriber.news = late
    subscriber.take_news()
    assert subscriber.plan() == "pro"


def test_an_address_that_was_never_verified_does_not_reach_stripe(payer: Person) -> None:
    payer.checkout()
    assert payer.customers()[0]["email"] is None


def test_a_customer_deleted_at_stripe_is_followed_by_a_new_one(subscriber: Person) -> None:
    first = subscriber.customer_id()
    before = len(subscriber.stripe.events())
    subscriber.stripe._api.delete(f"/v1/customers/{first}").raise_for_status()
    subscriber.news = [one["event"]["id"] for one in subscriber.stripe.events()[before:]]
    subscriber.take_news()
    assert subscriber.plan() == "basic"
    subscriber.pay()
    subscriber.take_news()
    assert subscriber.plan() == "pro"
    assert subscriber.customer_id() != first


def test_everything_made_at_stripe_has_an_idempotency_key(payer: Person) -> None:
    payer.stripe.reset()
    payer.pay()
    for path in ("/v1/customers", "/v1/checkout/sessions"):
        [call] = payer.stripe.calls("POST", path)
        assert payer.id in call["idempotencyKey"]


def test_a_bank_debit_makes_pro_when_it_has_come_in(payer: Person) -> None:
    reply = payer.checkout()
    session = reply.data["sessionId"]
    payer.news += payer.stripe.act(session, "debit")
    payer.take_news()
    assert (payer.plan(), payer.status()["status"]) == ("basic", "incomplete")
    assert payer.checkout().status == 409
    payer.news += payer.stripe.act(session, "debit-paid")
    payer.take_news()
    assert payer.plan() == "pro"


def test_a_bank_debit_that_fails_leaves_basic(payer: Person) -> None:
    session = payer.checkout().data["sessionId"]
    payer.news += payer.stripe.act(session, "debit")
    payer.news += payer.stripe.act(session, "debit-failed")
    payer.take_news()
    assert (payer.plan(), payer.status()["status"]) == ("basic", "incomplete_expired")
    assert payer.checkout().status == 200


# The portal, cancel and resume


def test_cancelled_it_is_pro_until_the_periods_end_and_basic_after_it(subscriber: Person) -> None:
    reply = subscriber.request("POST", "/subscription/cancel")
    assert reply.status == 200
    assert (reply.data["plan"], reply.data["cancelAtPeriodEnd"]) == ("pro", True)
    ends = subscriber.period_end()
    assert subscriber.plan(ends - timedelta(seconds=1)) == "pro"
    assert subscriber.plan(ends) == "basic"  # and no news was needed for that
    room = subscriber.open_room()
    sent = [subscriber.send(room, at=ends).status for _ in range(6)]
    assert sent == [202] * 5 + [429]


def test_resumed_it_goes_on(subscriber: Person) -> None:
    subscriber.request("POST", "/subscription/cancel")
    reply = subscriber.request("POST", "/subscription/resume")
    assert (reply.status, reply.data["cancelAtPeriodEnd"]) == (200, False)
    assert subscriber.plan(subscriber.period_end()) == "pro"


def test_what_was_cancelled_in_the_portal_can_be_resumed_here(subscriber: Person) -> None:
    url = subscriber.request("POST", "/subscription/portal").data["url"]
    before = len(subscriber.stripe.events())
    form = {"do": "cancel", "subscription": subscriber.subscription_id()}
    assert subscriber.stripe._api.post(url, data=form).status_code == 303
    subscriber.news = [one["event"]["id"] for one in subscriber.stripe.events()[before:]]
    subscriber.take_news()
    assert subscriber.status()["cancelAtPeriodEnd"] is True
    assert subscriber.plan(subscriber.period_end()) == "basic"
    assert subscriber.request("POST", "/subscription/resume").status == 200
    assert subscriber.plan(subscriber.period_end()) == "pro"


@pytest.mark.parametrize("verb", ["portal", "cancel", "resume"])
def test_a_session_that_has_ended_gets_nothing_done(subscriber: Person, verb: str) -> None:
    """Its access token holds for some minutes yet: not where money is concerned."""
    before = subscriber.status()
    assert subscriber.request("POST", "/auth/logout", json={"everywhere": True}).status == 200
    reply = subscriber.request("POST", f"/subscription/{verb}")
    assert (reply.status, reply.json["type"]) == (401, "urn:geminichat:problem:unauthorized")
    assert subscriber.status() == before


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_doing_it_twice_changes_nothing(subscriber: Person, verb: str) -> None:
    replies = [subscriber.request("POST", f"/subscription/{verb}") for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].data == replies[1].data


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_who_has_no_subscription_has_none_to_cancel_or_resume(payer: Person, verb: str) -> None:
    reply = payer.request("POST", f"/subscription/{verb}")
    assert (reply.status, reply.json["type"]) == (409, "urn:geminichat:problem:no-subscription")


@pytest.mark.parametrize("verb", ["cancel", "resume"])
def test_one_that_ended_unheard_is_found_out(subscriber: Person, verb: str) -> None:
    subscriber.move("cancel")
    assert subscriber.plan() == "pro"
    assert subscriber.request("POST", f"/subscription/{verb}").status == 409
    assert subscriber.plan() == "basic"


def test_who_never_subscribed_has_no_portal(payer: Person) -> None:
    reply = payer.request("POST", "/subscription/portal")
    assert (reply.status, reply.json["type"]) == (409, "urn:geminichat:problem:no-customer")


def test_people_come_back_to_small_pages(api: Api, payer: Person) -> None:
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
    ("method", "path"),
    [
        ("POST", "/subscribe/pro"),
        ("GET", "/subscription/status"),
        ("POST", "/subscription/portal"),
        ("POST", "/subscription/cancel"),
        ("POST", "/subscription/resume"),
    ],
)
def test_nothing_of_it_is_public(api: Api, method: str, path: str) -> None:
    assert api.request(method, path).status == 401
