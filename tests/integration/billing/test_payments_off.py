"""A stage without a Stripe key: the routes that need Stripe answer 409."""

import pytest

from tests.support.billing import set_secrets
from tests.support.person import Person, problem


@pytest.mark.parametrize(
    "route",
    ["/subscribe/pro", "/subscription/portal", "/subscription/cancel", "/subscription/resume"],
)
def test_without_a_stripe_key_every_route_that_needs_it_answers_409(
    subscriber: Person, route: str
) -> None:
    set_secrets(key="unset")
    problem(subscriber.post(route), 409, "payments-off")
