"""Subscriptions of users who signed up with a one-time code."""

from datetime import UTC, datetime, timedelta

from tests.support.lambdas import Api
from tests.support.person import PASSWORD, Person, new_mobile
from tests.support.standins import Stripe


def test_a_user_who_signed_up_by_code_can_set_a_password_and_subscribe(
    api: Api, stripe: Stripe
) -> None:
    ann = Person(api, new_mobile(), stripe)
    now = datetime.now(UTC)
    came = ann.prove(at=now - timedelta(minutes=1))
    assert ann.change_password(PASSWORD, ann.confirm(at=now), at=now).status == 200
    ann.buy()

    logged_in = ann.log_in(PASSWORD)
    seen = ann.me(logged_in.data["token"]).data
    assert seen["id"] == came["user"]["id"]
    assert (seen["plan"], seen["mobileVerified"]) == ("pro", True)
    assert seen["usage"]["limit"] is None


def test_a_user_without_an_email_address_enters_one_in_checkout(api: Api, stripe: Stripe) -> None:
    payer = Person(api, new_mobile(), stripe)
    payer.prove()
    payer.checkout()
    assert payer.customers()[0]["email"] is None
    assert payer.buy() == "pro"
    assert payer.customers()[0]["email"] == "payer@example.com"
