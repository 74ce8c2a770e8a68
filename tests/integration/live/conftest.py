"""The @connections API, to which functions post."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.sockets import Connections
from tests.support.standins import run_app
from tests.support.template import Values


@pytest.fixture
def connections(values: Values) -> Iterator[Connections]:
    """The @connections API without posts."""
    api = Connections()
    with run_app(api.create_app, urlsplit(values.refs["GatewayEndpoint"]).port or 0):
        yield api
