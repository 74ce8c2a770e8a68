"""A stage without a Stripe key."""

import pytest

from tests.support.billing import set_secrets
from tests.support.person import Person, check_problem


@pytest.mark.parametrize(
    "route",
    ["/subscribe/pro", "/subscription/portal", "/subscription/cancel", "/subscription/resume"],
)
def test_every_route_that_calls_stripe_answers_409_without_a_stripe_key(
    subscriber: Person, route: str
) -> None:
    set_secrets(key="unset")
    check_problem(subscriber.post(route), 409, "payments-off")
