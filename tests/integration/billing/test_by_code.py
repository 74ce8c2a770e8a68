"""Someone who came by code alone becomes a customer like any other."""

from infra.local.standins.stripe.driver import Stripe
from tests.support.lambdas import Api
from tests.support.person import PASSWORD, Person, new_mobile, problem


def test_a_user_who_came_by_code_sets_a_password_subscribes_and_logs_in_with_it(
    api: Api, stripe: Stripe
) -> None:
    ann = Person(api, new_mobile(), stripe)
    came = ann.prove()
    reply = api.post("/auth/change-password", {"newPassword": PASSWORD}, token=came["token"])
    assert reply.status == 200

    ann.remember(reply)
    ann.pay()
    ann.take_news()

    logged_in = ann.log_in(PASSWORD)
    seen = ann.me(logged_in.data["token"]).data
    assert seen["id"] == came["user"]["id"]
    assert (seen["plan"], seen["mobileVerified"]) == ("pro", True)
    assert seen["usage"]["limit"] is None


def test_a_user_without_an_email_gives_it_on_stripes_page(api: Api, stripe: Stripe) -> None:
    payer = Person(api, new_mobile(), stripe)
    payer.prove()
    payer.checkout()
    assert payer.customers()[0]["email"] is None
    payer.pay()
    payer.take_news()
    assert payer.plan() == "pro"
    assert payer.customers()[0]["email"] == "payer@example.com"


def test_a_session_that_has_ended_buys_nothing(api: Api, stripe: Stripe) -> None:
    payer = Person.new(api, stripe)
    other = Person(api, payer.identity).log_in().data["token"]
    assert api.post("/auth/logout", {"everywhere": True}, token=other).status == 200
    problem(payer.checkout(), 401, "unauthorized")
