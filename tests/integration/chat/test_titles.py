"""Titles of rooms: Gemini generates them; if Gemini fails, the prompt's words are the title."""

import random
import time
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from geminichat.clients import title_queue
from geminichat.domain import times, titles
from geminichat.domain.rooms import TITLE_LENGTH
from geminichat.tables.usage import Usage
from tests.support.gemini_events import piece
from tests.support.lambdas import Poller
from tests.support.parallel import at_once
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.template import Values
from tests.support.wire import BATCH_GET, SEND, TRANSACT, Died, Wire

PROMPT = "What is a queue good for?"
WORDS, GENERATED = PROMPT, "Chat about What is a"


@pytest.fixture
def room(basic_user: Person, worker: Poller, google: StandIn) -> str:
    """A room with one answered turn and a queued job for its title."""
    room = basic_user.open_room()
    basic_user.ask(room, PROMPT)
    worker.drain()
    google.reset()
    return room


def get_title(user: Person, room: str) -> str:
    return str(user.get(f"/chatroom/{room}").data["title"])


def rename(user: Person, room: str, title: str | None = "Mine") -> None:
    assert user.request("PATCH", f"/chatroom/{room}", json={"title": title}).status == 200


def get_micro_dollars(user: Person) -> int:
    """Assert that nothing is reserved; return the micro-dollars that the user has spent today."""
    usage = Usage.get(user.id, times.day(datetime.now(UTC)), consistent_read=True)
    assert usage.reserved == 0
    return int(usage.committed)


def test_a_room_gets_its_title_after_its_first_answered_turn(
    basic_user: Person, worker: Poller, titler: Poller, google: StandIn
) -> None:
    room = basic_user.open_room()
    google.fault("blocked")
    basic_user.ask(room, "a blocked prompt")
    worker.drain()
    assert titler.poll().bodies == []
    assert get_title(basic_user, room) == "New Chat"
    basic_user.ask(room, PROMPT)
    worker.drain()
    google.reset()
    titler.poll()
    [asked] = google.requests()
    assert asked["model"] == "gemini-3.5-flash-lite"
    assert asked["systemInstruction"] == titles.INSTRUCTION
    assert asked["generationConfig"] == {"maxOutputTokens": 24}
    assert get_title(basic_user, room) == GENERATED
    basic_user.ask(room, "And a stack?")
    worker.drain()
    assert titler.poll().bodies == []


def test_the_cached_room_list_shows_a_new_title(
    basic_user: Person, room: str, titler: Poller, wire: Wire
) -> None:
    def title_in_list() -> str:
        return str(basic_user.get("/chatroom").data["chatrooms"][0]["title"])

    seen: list[str] = []
    assert room
    assert [title_in_list(), title_in_list()] == ["New Chat"] * 2
    wire.cut(TRANSACT, "meanwhile", times=2, do=lambda: seen.append(title_in_list()))
    titler.poll()
    assert seen == ["New Chat", WORDS]
    assert title_in_list() == GENERATED


def test_a_title_does_not_move_its_room_in_the_list(
    basic_user: Person, room: str, titler: Poller
) -> None:
    later = basic_user.open_room("Later")
    titler.poll()
    rooms = basic_user.get("/chatroom").data["chatrooms"]
    assert [one["id"] for one in rooms] == [later, room]


@pytest.mark.parametrize(
    "fault",
    [
        *({"kind": "error", "status": status} for status in (400, 404, 429, 503)),
        *({"kind": kind} for kind in ("drop", "garbage", "blocked", "finish", "empty", "no-text")),
        {"kind": "max-tokens"},
        {"kind": "answer", "body": {"candidates": []}},
        {"kind": "answer", "events": [piece("Late")], "pause": 0.5, "repeat": 120},  # for a minute
    ],
    ids=str,
)
def test_the_prompts_words_are_the_title_if_gemini_fails(
    fault: dict[str, Any], basic_user: Person, room: str, titler: Poller, google: StandIn
) -> None:
    before = get_micro_dollars(basic_user)
    google.fault(**fault, times="always")
    began = time.monotonic()
    assert titler.poll().failed == []
    assert time.monotonic() - began < 30
    assert get_title(basic_user, room) == WORDS
    assert len(google.requests()) == 1
    assert get_micro_dollars(basic_user) - before <= 100
    assert titler.poll().bodies == []


def test_the_prompts_words_are_the_title_if_gemini_takes_three_seconds(
    basic_user: Person, room: str, titler: Poller, google: StandIn
) -> None:
    google.fault("answer", events=[piece("Late")] * 60, pause=1)
    began = time.monotonic()
    titler.poll()
    assert 2.9 < time.monotonic() - began < 30
    assert get_title(basic_user, room) == WORDS


@pytest.mark.parametrize(
    "said",
    ["Plain. " * 2_000, "漢" * 8_000, "😀" * 8_000, "7" * 16_000, "\n\u202e x\u200b\x07" * 9],
)
def test_a_generated_title_costs_at_most_300_tokens_and_is_valid(
    said: str, pro_user: Person, worker: Poller, titler: Poller, google: StandIn
) -> None:
    room = pro_user.open_room()
    pro_user.ask(room, said)
    worker.drain()
    day = times.day(datetime.now(UTC))
    before = Usage.get(pro_user.id, day, consistent_read=True)
    google.reset()
    titler.poll()
    [asked] = google.requests()
    [content] = asked["contents"]
    texts = content["parts"][0]["text"], asked["systemInstruction"]
    assert sum(-(-len(one) // 4) for one in texts) + titles.MAX_OUTPUT_TOKENS <= 300
    after = Usage.get(pro_user.id, day, consistent_read=True)
    assert 0 < after.committed - before.committed <= 150  # micro-dollars
    changed = {"committed", "expires_at"}
    assert {
        name: value for name, value in after.attribute_values.items() if name not in changed
    } == {name: value for name, value in before.attribute_values.items() if name not in changed}
    title = get_title(pro_user, room)
    assert 0 < len(title) <= TITLE_LENGTH
    assert not set(title) & set("\n\x07\u200b\u202e")


@pytest.mark.parametrize("setting", ["BASIC_DAILY_DOLLARS", "STAGE_DAILY_DOLLARS"])
def test_the_prompts_words_are_the_title_if_a_spending_cap_is_reached(
    setting: str,
    basic_user: Person,
    room: str,
    titler: Poller,
    google: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = get_micro_dollars(basic_user)
    monkeypatch.setenv(setting, "0.000001")
    titler.poll()
    assert google.requests() == []
    assert get_title(basic_user, room) == WORDS
    assert get_micro_dollars(basic_user) == before


# ── The user's own title ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("title", ["Mine", "New Chat", WORDS])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_generated_title_does_not_replace_a_rename_during_its_generation(
    nth: int, title: str, basic_user: Person, room: str, titler: Poller, wire: Wire
) -> None:
    wire.cut(TRANSACT, "meanwhile", nth=nth, do=lambda: rename(basic_user, room, title))
    titler.poll()
    assert get_title(basic_user, room) == title
    assert titler.poll().bodies == []


def race(user: Person, worker: Poller, titler: Poller, after: float) -> str:
    """Start a room's title job, rename the room `after` seconds later; return the final title."""
    room = user.open_room()
    user.ask(room, PROMPT)
    worker.drain()

    def late() -> None:
        time.sleep(after)
        rename(user, room)

    at_once([late, titler.drain])
    return get_title(user, room)


def test_a_rename_during_the_generation_of_a_title_always_wins(
    pro_user: Person, worker: Poller, titler: Poller
) -> None:
    ends = [race(pro_user, worker, titler, random.uniform(0, 0.15)) for _ in range(5)]
    assert ends == ["Mine"] * 5


@pytest.mark.soak
def test_a_rename_during_the_generation_of_a_title_wins_in_200_races(
    api: Any, worker: Poller, titler: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "0")
    user = Person(api)
    user.subscribe()
    ends = [race(user, worker, titler, random.uniform(0, 0.15)) for _ in range(200)]
    assert ends == ["Mine"] * 200


def test_a_named_room_gets_no_generated_title_until_its_user_removes_the_name(
    basic_user: Person, worker: Poller, titler: Poller
) -> None:
    room = basic_user.open_room("New Chat")
    basic_user.ask(room, PROMPT)
    worker.drain()
    assert titler.poll().bodies == []
    rename(basic_user, room, None)
    basic_user.ask(room, PROMPT)
    worker.drain()
    titler.poll()
    assert get_title(basic_user, room) == GENERATED


def test_generated_titles_can_be_turned_off(
    basic_user: Person, worker: Poller, titler: Poller, monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    monkeypatch.setenv("TITLES_QUEUE_URL", "")
    room = basic_user.open_room()
    basic_user.ask(room, PROMPT)
    wire.reset()
    worker.poll()
    assert SEND not in wire.calls()
    assert titler.poll().bodies == []
    assert get_title(basic_user, room) == "New Chat"


# ── Crashes, repetition, deletion ─────────────────────────────────────────────────────────────────


def test_the_job_for_a_title_is_queued_after_the_reply_is_stored(
    basic_user: Person, worker: Poller, wire: Wire
) -> None:
    room = basic_user.open_room()
    message = basic_user.ask(room)
    seen: list[str] = []
    look = lambda: seen.append(basic_user.fetch_message(room, message)["status"])  # noqa: E731
    wire.cut(SEND, "meanwhile", do=look)
    worker.poll()
    assert seen == ["answered"]


@pytest.mark.parametrize("how", ["refused", "failing", "silent", "dies before"])
def test_a_title_is_generated_after_the_next_reply_if_its_job_could_not_be_queued(
    how: str, basic_user: Person, worker: Poller, titler: Poller, wire: Wire
) -> None:
    room = basic_user.open_room()
    message = basic_user.ask(room, PROMPT)
    fault = wire.cut(SEND, how)
    began = time.monotonic()
    assert worker.poll().failed == []
    assert time.monotonic() - began < 10
    assert fault.happened == 1
    assert basic_user.fetch_message(room, message)["status"] == "answered"
    basic_user.ask(room, PROMPT)
    worker.drain()
    titler.drain()
    assert get_title(basic_user, room) == GENERATED


@pytest.mark.parametrize("how", ["dies before", "dies after", "failing", "lost", "conflict"])
@pytest.mark.parametrize(("call", "nth"), [(BATCH_GET, 1), (TRANSACT, 1), (TRANSACT, 2)])
def test_a_room_is_titled_at_most_once_after_a_crash_at_any_call(
    call: str,
    nth: int,
    how: str,
    basic_user: Person,
    room: str,
    titler: Poller,
    google: StandIn,
    wire: Wire,
) -> None:
    fault = wire.cut(call, how, nth=nth, times=2 if how == "failing" else 1)
    if how.startswith("dies"):
        with pytest.raises(Died):
            titler.poll()
    else:
        titler.poll()
    assert fault.happened
    titler.redeliver()
    titler.drain()
    assert get_title(basic_user, room) in (WORDS, GENERATED)
    assert len(google.requests()) <= 1
    assert titler.poll().bodies == []


def test_several_jobs_for_the_title_of_a_room_ask_gemini_once(
    pro_user: Person, worker: Poller, values: Values, google: StandIn
) -> None:
    room = pro_user.open_room()
    for _ in range(3):
        pro_user.ask(room, PROMPT)
    worker.drain()
    google.reset()
    others = [
        Poller([values.refs["TitlesQueue"]], "TitlesGenerate", batch_size=1) for _ in range(3)
    ]
    at_once([other.drain for other in others])
    assert len(google.requests()) == 1
    assert get_title(pro_user, room) == GENERATED


@pytest.mark.parametrize("nth", [1, 2])
def test_a_title_is_not_stored_if_its_room_and_user_are_deleted_meanwhile(
    nth: int, basic_user: Person, room: str, titler: Poller, wire: Wire
) -> None:
    def delete() -> None:
        basic_user.delete(room)
        Usage(basic_user.id, times.day(datetime.now(UTC))).delete()

    wire.cut(TRANSACT, "meanwhile", nth=nth, do=delete)
    assert titler.poll().failed == []
    assert basic_user.get(f"/chatroom/{room}").status == 404
    assert list(Usage.query(basic_user.id, Usage.day.startswith("20"))) == []
    assert titler.poll().bodies == []


def test_a_job_for_a_title_becomes_a_dead_letter_after_three_failures(
    titler: Poller, values: Values, room: str, wire: Wire
) -> None:
    wire.cut(BATCH_GET, "failing", times=100)
    for _ in range(3):
        [failed] = titler.poll().failed
        assert failed
        titler.redeliver()
    assert titler.poll().bodies == []
    letters = boto3.client("sqs").receive_message(QueueUrl=values.refs["TitleDeadLettersQueue"])
    [letter] = letters["Messages"]
    assert title_queue.read(letter["Body"]).chatroom_id == room
