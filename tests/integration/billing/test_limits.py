"""The hourly limit per user of requests that call Stripe."""

from datetime import UTC, datetime, timedelta

import pytest

from geminichat.domain.billing import REQUESTS_PER_HOUR
from tests.support.lambdas import Api
from tests.support.person import Person, check_problem
from tests.support.standins import Stripe
from tests.support.stored import set_stripe_requests

ROUTES = [
    "/subscribe/pro",
    "/subscription/portal",
    "/subscription/cancel",
    "/subscription/resume",
]


@pytest.mark.parametrize("route", ROUTES)
def test_a_user_may_call_stripe_a_limited_number_of_times_per_hour(
    subscriber: Person, stripe: Stripe, route: str
) -> None:
    now = datetime.now(UTC)
    set_stripe_requests(subscriber.id, now, REQUESTS_PER_HOUR - 1)
    last = subscriber.post(route, at=now)
    assert last.status in (200, 409)
    stripe.ask("DELETE", "/_requests")

    refused = check_problem(subscriber.post(route, at=now), 429, "too-many-requests")
    seconds = 3600 - int(now.timestamp()) % 3600
    assert refused.headers["retry-after"] == str(seconds)
    assert refused.headers["ratelimit-policy"] == f'"stripe";q={REQUESTS_PER_HOUR};w=3600'
    assert refused.headers["ratelimit"] == f'"stripe";r=0;t={seconds}'
    assert stripe.requests() == []
    assert subscriber.post(route, at=now + timedelta(hours=1)).status in (200, 409)


def test_answers_show_the_remaining_requests_that_may_call_stripe(payer: Person) -> None:
    left = [payer.checkout().headers["ratelimit"].partition(";t=")[0] for _ in range(2)]
    assert left == [f'"stripe";r={REQUESTS_PER_HOUR - used}' for used in (1, 2)]


def test_requests_that_call_stripe_are_counted_per_user(api: Api, stripe: Stripe) -> None:
    ann, bob = Person.new_proven(api, stripe), Person.new_proven(api, stripe)
    set_stripe_requests(ann.id, datetime.now(UTC), REQUESTS_PER_HOUR)
    assert ann.checkout().status == 429
    assert bob.checkout().status == 200
