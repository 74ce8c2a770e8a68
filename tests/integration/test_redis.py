"""The Redis client: an error of the database opens the circuit, an error of a command does not."""

import json

import pytest

from geminichat.upstash import redis as client
from tests.support.standins import StandIn

SPENT = (
    "ERR max requests limit exceeded. Limit: 500000, Usage: 500000. See "
    "https://upstash.com/docs/redis/troubleshooting/max_requests_limit for details"
)


def evaluate() -> object:
    return client.evaluate("return 1", [], [])


@pytest.mark.parametrize(
    "message",
    [
        SPENT,
        "ERR max daily request limit exceeded",
        "ERR DB capacity quota exceeded",
        "WRONGPASS invalid or missing auth token",
    ],
)
def test_a_used_up_upstash_plan_opens_the_circuit_and_is_counted_as_unavailable(
    redis: StandIn, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    redis.fault("error", message=message, times="always")
    assert [evaluate() for _ in range(3)] == [None, None, None]
    assert len(redis.requests()) == 1
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [one["RedisUnavailable"] for one in metrics] == [[1]]


def test_an_error_of_one_command_does_not_open_the_circuit(redis: StandIn) -> None:
    redis.fault("error", message="WRONGTYPE Operation against a key holding the wrong kind")
    assert evaluate() is None
    assert evaluate() == 1
