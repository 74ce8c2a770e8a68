"""A stand-in for the @connections API."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.sockets import Connections
from tests.support.standins import run_app
from tests.support.template import Values


@pytest.fixture
def connections(values: Values) -> Iterator[Connections]:
    """A new stand-in for the @connections API, which records posts and closed connections."""
    api = Connections()
    with run_app(api.create_app, urlsplit(values.refs["GatewayEndpoint"]).port or 0):
        yield api
