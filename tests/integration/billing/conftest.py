"""Stripe's stand-in behind the handlers, and people who pay."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from geminichat import config
from geminichat.clients import payments
from infra.local.serving import served
from infra.local.standins.stripe import Endpoint, create_app
from infra.local.standins.stripe.driver import Stripe
from tests.support import cloud
from tests.support.lambdas import Api
from tests.support.payer import Payer
from tests.support.template import Values

KEY = "sk_test_integration"
SECRET = "whsec_integration"


@pytest.fixture(scope="session")
def stripe_url(values: Values) -> Iterator[str]:
    port = urlsplit(values.refs["StripeEndpoint"]).port or 0
    with served(lambda: create_app(KEY, Endpoint(secrets=[SECRET])), port) as url:
        yield url


@pytest.fixture(autouse=True)
def stripe(stripe_url: str) -> Stripe:
    """The stand-in, without faults; events wait until a test delivers them."""
    set_secrets()
    stand_in = Stripe(stripe_url, KEY)
    stand_in.reset()
    stand_in.endpoint(url="", secrets=[SECRET])
    stand_in.ask("PATCH", "/_ledger", {"givesUp": "canceled"})
    return stand_in


def set_secrets(key: str = KEY, webhook: str = SECRET) -> None:
    """Store Stripe's secrets, and have them read anew."""
    cloud.put_secrets({"STRIPE_KEY_PARAMETER": key, "STRIPE_WEBHOOK_SECRET_PARAMETER": webhook})
    config.forget_secrets()
    payments.forget_unset()


@pytest.fixture
def payer(api: Api, stripe: Stripe) -> Payer:
    """Someone with an account, on the basic plan."""
    return Payer.sign_up(api, stripe)


@pytest.fixture
def subscriber(payer: Payer) -> Payer:
    """Someone who has paid, and whose plan is pro."""
    payer.pay()
    payer.take_news()
    assert payer.plan() == "pro"
    return payer
