"""Edits, regenerations, undos and forks: the messages that a room shows and stores."""

import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from geminichat.domain import ids
from geminichat.domain.quota import DAILY_FORKS
from geminichat.tables.chatrooms import Chatroom
from geminichat.tables.messages.stored import StoredMessage
from tests.support.aftermath import run_sweep
from tests.support.lambdas import Api, Poller
from tests.support.moments import NOON
from tests.support.parallel import repeat_at_once
from tests.support.person import Person, check_problem
from tests.support.standins import StandIn
from tests.support.stored import NO_ROOM, fill_room, messages_in, prompts
from tests.support.wire import BATCH_GET, BATCH_WRITE, SECRET, SEND, TRANSACT, Wire


@pytest.fixture
def user(pro_user: Person) -> Person:
    return pro_user


@pytest.fixture
def room(user: Person, worker: Poller) -> str:
    """A room with the answered prompts "one", "two" and "three"."""
    room = user.open_room("Numbers")
    for content in ("one", "two", "three"):
        user.ask(room, content)
        worker.drain()
    return room


def list_ids(user: Person, room: str) -> list[str]:
    return [message["id"] for message in user.page(room)]


def list_shown_prompts(user: Person, room: str) -> list[str]:
    """Return the prompts that the room shows."""
    return [one["content"] for one in user.page(room) if one["sender"] == "user"]


def list_texts(request: Any) -> list[str]:
    """Return the texts of a request to Gemini; the last one is the prompt."""
    return [one["parts"][0]["text"] for one in request["contents"]]


ACTS: dict[str, Callable[..., Any]] = {
    "edit": lambda user, room, message, **more: user.edit(room, message, "x", **more),
    "regenerate": lambda user, room, message, **more: user.regenerate(room, message, **more),
    "undo": lambda user, room, _, **more: user.undo(room, **more),
    "fork": lambda user, room, message, **more: user.fork(room, message, **more),
}


def test_an_edit_replaces_a_prompt_and_all_turns_after_it(
    user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    before = user.page(room)
    google.reset()
    reply = user.edit(room, before[2]["id"], "2")
    assert (reply.status, reply.data["status"]) == (202, "queued")
    assert reply.headers["location"].endswith(reply.data["messageId"])
    assert list_shown_prompts(user, room) == ["one", "2"]
    worker.drain()
    after = user.page(room)
    assert after[:2] == before[:2]
    assert [one["sender"] for one in after[2:]] == ["user", "ai"]
    [asked] = google.requests()
    assert list_texts(asked) == ["one", before[1]["content"], "2"]


@pytest.mark.parametrize("named", ["prompt", "reply"])
def test_a_regeneration_sends_the_same_prompt_to_another_model(
    named: str, user: Person, room: str, worker: Poller
) -> None:
    before = user.page(room)
    reply = user.regenerate(room, before[2 if named == "prompt" else 3]["id"], "best")
    assert (reply.status, reply.data["message"]["content"]) == (202, "two")
    worker.drain()
    assert list_shown_prompts(user, room) == ["one", "two"]
    assert user.page(room)[3]["model"] == "gemini-3.8-flash"
    user.ask(room, "three")
    worker.drain()
    assert user.page(room)[5]["model"] != "gemini-3.8-flash"


def test_edits_and_regenerations_and_undos_keep_every_stored_message(
    user: Person, room: str, worker: Poller
) -> None:
    before = [one.attribute_values for one in messages_in(room)]
    assert user.edit(room, list_ids(user, room)[0], "1").status == 202
    assert user.regenerate(room, list_ids(user, room)[0]).status == 202
    assert user.undo(room).status == 200
    assert [one.attribute_values for one in messages_in(room)][: len(before)] == before
    worker.drain()
    assert [one.attribute_values for one in messages_in(room)][: len(before)] == before


def test_an_undo_restores_each_page_byte_for_byte(user: Person, room: str, worker: Poller) -> None:
    seen = []

    def fetch() -> list[str]:
        return [user.get(f"/chatroom/{room}/message?limit={limit}").text for limit in (2, 100)]

    for number in range(3):
        seen.append(fetch())
        assert user.edit(room, list_ids(user, room)[2 * (2 - number)], "again").status == 202
        user.ask(room, "and more")
        worker.drain()
    for before in reversed(seen):
        reply = user.undo(room)
        assert (reply.status, reply.data["id"]) == (200, room)
        assert fetch() == before
        assert reply.data["canUndo"] == (before is not seen[0])
    check_problem(user.undo(room), 409, "nothing-to-undo")
    user.ask(room, "four")
    assert list_shown_prompts(user, room) == ["one", "two", "three", "four"]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_of_every_size_show_the_line_after_regenerations(
    limit: int, user: Person, room: str, worker: Poller
) -> None:
    for turn, times in ((1, 1), (2, 3), (3, 2)):
        for _ in range(times):
            message = list_ids(user, room)[2 * (turn - 1)]
            assert user.regenerate(room, message).status == 202
            worker.drain()
        user.ask(room, f"next {turn}")
        worker.drain()
    line = user.page(room)
    assert list_shown_prompts(user, room) == ["one", "next 1", "next 2", "next 3"]
    back = [page["messages"] for page in user.pages(f"/chatroom/{room}?limit={limit}")]
    assert all(back)
    assert [message for page in reversed(back) for message in page] == line
    forth = user.pages(f"/chatroom/{room}/message?limit={limit}")
    assert [message for page in forth for message in page["messages"]] == line


def test_a_poll_after_a_hidden_message_asks_for_a_reload(user: Person, room: str) -> None:
    line = list_ids(user, room)
    edited = user.edit(room, line[2], "2").data["messageId"]
    for after, reload in ((line[1], False), (line[2], True), (line[5], True)):
        page = user.get(f"/chatroom/{room}/message?after={after}").data
        assert [one["id"] for one in page["messages"]] == [edited]
        assert (page["reload"], page["pollAfter"]) == (reload, after)


def test_a_hidden_message_is_marked_as_hidden(user: Person, room: str) -> None:
    line = list_ids(user, room)
    user.edit(room, line[2], "2")
    assert [user.fetch_message(room, one).get("hidden") for one in line] == [None] * 2 + [True] * 4
    user.undo(room)
    assert all("hidden" not in user.fetch_message(room, one) for one in line)


def test_a_hidden_message_cannot_be_edited_or_regenerated_or_retried_or_forked(
    user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    google.fault("blocked")
    failed = user.ask(room, "four")
    worker.drain()
    user.edit(room, list_ids(user, room)[4], "3")
    for reply in (
        user.edit(room, failed, "x"),
        user.regenerate(room, failed),
        user.retry(room, failed),
        user.fork(room, failed),
    ):
        check_problem(reply, 409, "changed-meanwhile")
    assert len(list(prompts(room))) == 5


def test_only_a_prompt_of_the_room_can_be_edited(user: Person, room: str) -> None:
    other = user.ask(user.open_room())
    reply = list_ids(user, room)[1]
    for message in (other, reply, "m_1", reply[:-1] + "99"):
        check_problem(user.edit(room, message, "x"), 404, "not-found")
    for message in (other, "m_1", reply[:-1] + "99"):
        check_problem(user.regenerate(room, message), 404, "not-found")
        check_problem(user.fork(room, message), 404, "not-found")


@pytest.mark.any_write_order
@pytest.mark.parametrize("act", ACTS)
def test_a_repeated_edit_or_undo_or_fork_with_one_idempotency_key_takes_effect_once(
    act: str, user: Person, room: str
) -> None:
    line = list_ids(user, room)
    user.edit(room, line[4], "x")
    user.regenerate(room, line[0])

    if act == "fork":
        user.undo(room)
    first, headers = list_ids(user, room)[0], {"idempotency-key": "k-1"}
    once = ACTS[act](user, room, first, headers=headers)
    assert once.status in (200, 201, 202), once.text
    shown, messages = list_shown_prompts(user, room), len(messages_in(room))
    again = ACTS[act](user, room, first, headers=headers)
    assert again.status == once.status
    for name in ("id", "messageId"):
        assert again.data.get(name) == once.data.get(name)
    assert (list_shown_prompts(user, room), len(messages_in(room))) == (shown, messages)
    check_problem(user.send(room, "another", key="k-1"), 422, "key-reused")


@pytest.mark.any_write_order
def test_one_of_fifty_parallel_edits_of_a_prompt_is_accepted(
    user: Person, room: str, worker: Poller
) -> None:
    target = list_ids(user, room)[2]
    replies = repeat_at_once(lambda number: user.edit(room, target, f"edit {number}"), 50)
    statuses = Counter(reply.status for reply in replies)
    assert statuses == {202: 1, 409: 49}
    for reply in replies:
        if reply.status == 409:
            check_problem(reply, 409, "changed-meanwhile")
    [accepted] = [reply.data["message"] for reply in replies if reply.status == 202]
    assert list_shown_prompts(user, room) == ["one", accepted["content"]]
    worker.drain()
    assert user.fetch_message(room, accepted["id"])["status"] == "answered"


@pytest.mark.any_write_order
def test_an_edit_uses_the_daily_quota_and_a_refused_edit_hides_nothing(
    basic_user: Person, worker: Poller
) -> None:
    room = basic_user.open_room()
    for content in "abcd":
        basic_user.ask(room, content)
    worker.drain()
    first = list_ids(basic_user, room)[0]
    assert basic_user.edit(room, first, "e").status == 202
    assert basic_user.count_prompts() == 5
    basic_user.undo(room)
    before = basic_user.page(room)
    check_problem(basic_user.edit(room, first, "f"), 429, "quota-exceeded")
    check_problem(basic_user.regenerate(room, first), 429, "quota-exceeded")
    assert basic_user.page(room) == before


@pytest.mark.any_write_order
def test_a_fork_copies_the_shown_turns_and_is_independent_of_its_original(
    user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    user.edit(room, list_ids(user, room)[2], "2")
    google.fault("blocked", match="no")
    user.ask(room, "no")
    worker.drain()
    user.ask(room, "later")
    worker.drain()
    line = user.page(room)
    counted = user.count_prompts()
    fork = user.fork(room, line[4]["id"])
    assert fork.status == 201, fork.text
    copy = user.page(fork.data["id"])
    assert fork.headers["location"] == f"/chatroom/{fork.data['id']}"
    assert (fork.data["title"], fork.data["canUndo"]) == ("Numbers", False)
    assert [{**one, "id": 0, "replyTo": 0} for one in copy] == [
        {**one, "id": 0, "replyTo": 0} for one in line[:5]
    ]
    assert [int(one.seq) for one in messages_in(fork.data["id"])] == [1, 2, 3, 4, 5]
    assert user.count_prompts() == counted
    assert user.get("/chatroom").data["chatrooms"][0]["id"] == fork.data["id"]
    google.reset()
    user.ask(fork.data["id"], "on")
    worker.drain()
    assert list_texts(google.requests()[0])[::2] == ["one", "2", "on"]
    assert user.page(room) == line


def test_a_prompt_that_is_being_answered_cannot_be_forked(user: Person, room: str) -> None:
    waiting = user.ask(room, "four")
    check_problem(user.fork(room, waiting), 409, "still-generating")
    assert user.fork(room, list_ids(user, room)[5]).status == 201


def test_an_edit_takes_four_calls_and_an_undo_takes_three(
    user: Person, room: str, wire: Wire, redis: StandIn
) -> None:
    line = list_ids(user, room)

    def check(act: Callable[[], Any], calls: list[str]) -> None:
        redis.reset()
        wire.reset()
        assert act().status in (200, 202)
        assert [call for call in wire.calls() if call != SECRET] == calls
        assert len(redis.requests()) == 1

    check(lambda: user.edit(room, line[2], "2"), [BATCH_GET, TRANSACT, SEND])
    check(lambda: user.undo(room), [BATCH_GET, TRANSACT])
    check(lambda: user.regenerate(room, line[1]), [BATCH_GET, TRANSACT, SEND])


def test_an_edit_writes_as_many_bytes_at_message_3_of_2000_as_at_the_last_message(
    user: Person, wire: Wire
) -> None:
    room = user.open_room()
    fill_room(user.id, room, 2_000)
    user.undo(room)
    sizes = []
    for seq in (3, 1_001, 1_999):
        wire.reset()
        with wire.watch() as tries:
            message = ids.message_id(room, seq)
            assert user.edit(room, message, "x" * 700).status == 202
        [transaction] = [json.loads(one.body) for one in tries if one.call == TRANSACT]
        items = [next(iter(write.values())) for write in transaction["TransactItems"]]
        sizes.append([len(json.dumps(item)) for item in items])
        assert user.undo(room).status == 200
    assert len(sizes[0]) == len(sizes[2])
    assert all(abs(first - last) < 100 for first, last in zip(sizes[0], sizes[2], strict=True))


def test_a_room_of_2000_messages_is_forked_in_less_than_10_seconds(
    user: Person, wire: Wire
) -> None:
    room = user.open_room()
    fill_room(user.id, room, 2_000)
    wire.reset()
    began = time.monotonic()
    fork = user.fork(room, ids.message_id(room, 2_000))
    seconds = time.monotonic() - began
    assert fork.status == 201, fork.text
    calls = Counter(wire.calls())
    assert calls[BATCH_WRITE] == 80
    assert calls[TRANSACT] == 2
    assert len(messages_in(fork.data["id"])) == 2_000
    assert seconds < 10


@pytest.mark.parametrize("long", ["messages", "texts"])
def test_a_fork_of_too_many_or_too_long_messages_is_refused_and_stores_nothing(
    long: str, user: Person
) -> None:
    room, last = user.open_room(), 2_002 if long == "messages" else 26
    fill_room(user.id, room, last)
    if long == "texts":
        for seq in range(2, 27, 2):
            StoredMessage(room, seq).update([StoredMessage.content.set("x" * 350_000)])
    check_problem(user.fork(room, ids.message_id(room, last - 1)), 409, "room-too-long")
    run_sweep(timedelta(minutes=15))
    mine = StoredMessage.scan(StoredMessage.user_id == user.id, consistent_read=True)
    assert {one.chatroom_id for one in mine} == {room}
    assert [one["id"] for one in user.get("/chatroom").data["chatrooms"]] == [room]


def test_a_user_has_a_limited_number_of_rooms_and_of_forks_per_day(
    basic_user: Person, monkeypatch: pytest.MonkeyPatch, worker: Poller
) -> None:
    room = basic_user.open_room()
    message = basic_user.ask(room)
    worker.drain()
    monkeypatch.setenv("BASIC_ROOMS", "1")
    check_problem(basic_user.fork(room, message), 409, "too-many-rooms")
    monkeypatch.setenv("BASIC_ROOMS", "100")
    for _ in range(DAILY_FORKS):
        assert basic_user.fork(room, message).status == 201
    refused = check_problem(basic_user.fork(room, message), 429, "too-many-requests")
    assert int(refused.headers["retry-after"]) > 0


NEW_TURNS = ["edit", "regenerate"]

LIMITS = {
    "token-limit": ("PRO_DAILY_TOKENS", "1"),
    "spending-limit": ("PRO_DAILY_DOLLARS", "0.000001"),
    "service-limit": ("STAGE_DAILY_DOLLARS", "0.000001"),
    "too-many-attempts": ("PRO_ATTEMPTS", "4"),
    "too-many-in-flight": ("PRO_IN_FLIGHT", "1"),
    "too-many-requests": ("BURST_PROMPTS", "1"),
}


@pytest.mark.parametrize("code", LIMITS)
def test_edits_and_regenerations_are_refused_by_the_limits_of_prompts(
    code: str, user: Person, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.ask(room, "four", at=NOON)
    before = user.page(room)
    monkeypatch.setenv(*LIMITS[code])
    for act in NEW_TURNS:
        check_problem(ACTS[act](user, room, before[0]["id"], at=NOON), 429, code)
    assert user.page(room) == before


def test_edits_and_regenerations_count_as_prompts_of_an_unproven_account(api: Api) -> None:
    stranger = Person.new(api)
    room = stranger.open_room()
    messages = [stranger.ask(room, at=NOON) for _ in range(5)]
    tomorrow = NOON + timedelta(days=1)
    for act in NEW_TURNS:
        check_problem(
            ACTS[act](stranger, room, messages[0], at=tomorrow), 403, "identity-not-proven"
        )


@pytest.mark.parametrize("act", ACTS)
def test_an_edit_with_an_invalid_or_reused_idempotency_key_is_refused(
    act: str, user: Person, room: str
) -> None:
    user.edit(room, list_ids(user, room)[4], "x", headers={"idempotency-key": "k-1"})
    first = list_ids(user, room)[0]
    used, invalid = {"idempotency-key": "k-1"}, {"idempotency-key": "a b"}
    check_problem(ACTS[act](user, room, first, headers=used), 422, "key-reused")
    check_problem(ACTS[act](user, room, first, headers=invalid), 400, "bad-request")


@pytest.mark.parametrize("act", ACTS)
def test_parallel_edits_or_undos_or_forks_with_one_idempotency_key_take_effect_once(
    act: str, user: Person, room: str
) -> None:
    user.edit(room, list_ids(user, room)[4], "x")
    first = list_ids(user, room)[0]
    headers = {"idempotency-key": "k-1"}
    replies = repeat_at_once(lambda _: ACTS[act](user, room, first, headers=headers), 10)
    for reply in replies:
        if reply.status >= 300:  # none, if each request began after the first had ended
            check_problem(reply, 409, "key-in-use")
    assert len({reply.text for reply in replies if reply.status == 201}) <= 1
    assert len(user.get("/chatroom").data["chatrooms"]) == (2 if act == "fork" else 1)


@pytest.mark.parametrize("act", ACTS)
def test_a_repeated_request_whose_read_misses_the_key_gets_key_in_use(
    act: str, user: Person, room: str, wire: Wire
) -> None:
    # A batch read is not atomic: it may read the key before the first request, and the room after.
    user.edit(room, list_ids(user, room)[4], "x")
    first = list_ids(user, room)[0]
    headers = {"idempotency-key": "k-1"}
    assert ACTS[act](user, room, first, headers=headers).status < 300
    dropped: list[Any] = []

    def drop_key(answer: dict[str, Any]) -> None:
        for table, items in answer["Responses"].items():
            if "IdempotencyKeys" in table and not dropped:
                dropped.extend(items)
                items.clear()

    wire.edit(BATCH_GET, drop_key)
    check_problem(ACTS[act](user, room, first, headers=headers), 409, "key-in-use")
    assert dropped


def test_parallel_undos_undo_one_edit_each(user: Person, room: str) -> None:
    for content in ("x", "y", "z"):
        user.edit(room, list_ids(user, room)[4], content)
    replies = repeat_at_once(lambda _: user.undo(room), 10)
    done = [reply for reply in replies if reply.status == 200]
    for reply in replies:
        if reply.status != 200:
            assert reply.status == 409, reply.text
    codes = {reply.json["type"].rpartition(":")[2] for reply in replies if reply.status == 409}
    assert "changed-meanwhile" in codes
    expected = ["three", "x", "y", "z"][3 - len(done)]
    assert list_shown_prompts(user, room) == ["one", "two", expected]


def test_the_51st_edit_of_a_room_is_refused_but_a_fork_can_be_edited(user: Person) -> None:
    room = user.open_room()
    fill_room(user.id, room, 210)
    gone = [[4 * n + 1, 4 * n + 2] for n in range(50)]
    Chatroom(user.id, room).update([Chatroom.line.set(json.dumps({"gone": gone}))])
    message = ids.message_id(room, 209)
    for act in NEW_TURNS:
        check_problem(ACTS[act](user, room, message), 409, "too-many-edits")
    assert user.send(room, "New prompts are accepted").status == 202
    fork = user.fork(room, message).data["id"]
    assert len(messages_in(fork)) == 110
    assert user.edit(fork, ids.message_id(fork, 109), "x").status == 202


def test_a_regeneration_requires_a_model_of_the_plan(basic_user: Person, worker: Poller) -> None:
    room = basic_user.open_room()
    message = basic_user.ask(room)
    worker.drain()
    check_problem(basic_user.regenerate(room, message, "best"), 403, "model-not-included")
    check_problem(basic_user.regenerate(room, message, "none"), 400, "bad-request")


@pytest.mark.parametrize("act", ACTS)
def test_an_edit_or_undo_or_fork_of_an_unknown_room_is_a_404(act: str, user: Person) -> None:
    check_problem(ACTS[act](user, NO_ROOM, ids.message_id(NO_ROOM, 1)), 404, "not-found")
