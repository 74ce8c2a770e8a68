"""Stripe objects of an unproven account: the purge deletes them, and the owner never gets them.

An unproven account gets no Stripe page today, but may have a customer from an earlier release.
"""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from geminichat.tables.subscriptions import Subscription
from geminichat.tables.users import User
from tests.support.aftermath import run_purge
from tests.support.lambdas import Api
from tests.support.person import Person, check_problem
from tests.support.standins import Stripe
from tests.support.stored import purge_of

NOW = datetime.now(UTC)
SOON = NOW + timedelta(minutes=1)


def new_stranger_with_a_customer(owner: Person, stripe: Stripe) -> tuple[Person, str]:
    """Return a stranger with the owner's email address, and the id of an open Checkout page."""
    stranger = Person(owner.api, owner.identity, stripe)
    stranger.sign_up(at=NOW)
    User(stranger.id).update([User.email_verified.set(True)])
    page = stranger.checkout().data["sessionId"]
    assert stranger.post("/subscription/portal").status == 200
    User(stranger.id).update([User.email_verified.set(False)])
    return stranger, page


def test_the_purge_of_a_stranger_deletes_the_customer_and_cancels_the_subscription(
    api: Api, stripe: Stripe
) -> None:
    owner = Person(api, stripe=stripe)
    stranger, page = new_stranger_with_a_customer(owner, stripe)
    customer_id = stranger.customer_id()
    stripe.act(page, "pay")
    [paid] = stranger.at_stripe()
    assert paid["status"] == "active"

    owner.prove(at=SOON)
    check_problem(stranger.post("/subscription/portal"), 401, "unauthorized")
    run_purge(SOON + timedelta(minutes=2))
    assert stripe.get(f"/v1/customers/{customer_id}")["deleted"] is True
    assert stripe.get(f"/v1/subscriptions/{paid['id']}")["status"] == "canceled"
    assert purge_of(stranger.id) is None

    events = [one["event"] for one in stripe.events()]
    stranger.undelivered = [one["id"] for one in events if customer_id in str(one)]
    assert len(stranger.undelivered) > 3
    stranger.deliver_events()
    assert list(Subscription.query(stranger.id)) == [], "an event stored the subscription again"
    assert owner.plan() == "basic"
    owner.buy()
    assert (owner.plan(), owner.customer_id() != customer_id) == ("pro", True)


def test_an_open_checkout_page_of_a_purged_user_cannot_be_paid(api: Api, stripe: Stripe) -> None:
    owner = Person(api, stripe=stripe)
    stranger, page = new_stranger_with_a_customer(owner, stripe)
    customer_id = stranger.customer_id()
    owner.prove(at=SOON)
    run_purge(SOON + timedelta(minutes=2))
    assert stripe.get(f"/v1/checkout/sessions/{page}")["status"] == "expired"
    assert stripe.get(f"/v1/customers/{customer_id}")["deleted"] is True
    with pytest.raises(httpx.HTTPStatusError):
        stripe.act(page, "pay")


@pytest.mark.parametrize("done", [False, True], ids=["refused", "lost"])
@pytest.mark.parametrize("call", ["GET /v1/customers", "POST /v1/checkout", "DELETE /v1/customers"])
def test_the_next_run_continues_a_purge_that_failed_at_stripe(
    api: Api, stripe: Stripe, call: str, *, done: bool
) -> None:
    owner = Person(api, stripe=stripe)
    stranger, page = new_stranger_with_a_customer(owner, stripe)
    customer_id = stranger.customer_id()
    owner.prove(at=SOON)
    stripe.fault("drop", match=call, times="always", **({"done": True} if done else {}))
    assert run_purge(SOON + timedelta(minutes=2))["failed"] == 1
    assert purge_of(stranger.id)
    stripe.reset()
    assert run_purge(SOON + timedelta(minutes=7))["purged"] == 1
    assert stripe.get(f"/v1/customers/{customer_id}")["deleted"] is True
    assert stripe.get(f"/v1/checkout/sessions/{page}")["status"] == "expired"
    assert purge_of(stranger.id) is None
