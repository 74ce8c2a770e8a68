"""The stand-in for Stripe that the handlers call, and users with and without a subscription."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from infra.local.standins.stripe import Endpoint, create_app
from tests.support.billing import KEY, SECRET, set_secrets
from tests.support.lambdas import Api
from tests.support.person import Person
from tests.support.standins import Stripe, run_app
from tests.support.template import Values


@pytest.fixture(scope="session")
def stripe_url(values: Values) -> Iterator[str]:
    port = urlsplit(values.refs["StripeEndpoint"]).port or 0
    with run_app(lambda: create_app(KEY, Endpoint(secrets=[SECRET])), port) as url:
        yield url


@pytest.fixture(autouse=True)
def stripe(stripe_url: str) -> Stripe:
    """The stand-in for Stripe, without faults; tests deliver its events."""
    set_secrets()
    stand_in = Stripe(stripe_url, KEY)
    stand_in.reset()
    stand_in.endpoint(url="", secrets=[SECRET])
    stand_in.ask("PATCH", "/_ledger", {"givesUp": "canceled"})
    return stand_in


@pytest.fixture
def payer(api: Api, stripe: Stripe) -> Person:
    """A user on the basic plan with a proven identity."""
    return Person.new_proven(api, stripe)


@pytest.fixture
def subscriber(payer: Person) -> Person:
    """A user who has paid for the pro plan."""
    assert payer.buy() == "pro"
    return payer
