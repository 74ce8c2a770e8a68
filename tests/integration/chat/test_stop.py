"""Stopping queued and generating prompts, and reading a reply while it is generated."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from geminichat.domain import ids
from geminichat.domain.live import Piece
from geminichat.domain.messages import FINAL, Status
from geminichat.tables import live, pieces
from geminichat.tables.messages import leases
from geminichat.tables.messages.prompts import request_stop
from geminichat.tables.messages.stored import StoredMessage
from tests.support.aftermath import check, recover, run_sweep
from tests.support.gemini_events import last, piece
from tests.support.http_api import Reply
from tests.support.lambdas import Batch, Poller
from tests.support.moments import NOON
from tests.support.parallel import wait_until
from tests.support.person import Person
from tests.support.queues import purge
from tests.support.standins import StandIn
from tests.support.stored import end_leases, messages_in, prompts
from tests.support.wire import BATCH_GET, Wire

PIECES = [piece(f"piece {number} ") for number in range(200)]


@pytest.fixture
def room(basic_user: Person) -> str:
    return basic_user.open_room()


@pytest.fixture
def run_worker(worker: Poller) -> Iterator[Callable[[], Future[Batch]]]:
    """A function that starts the worker in another thread."""
    with ThreadPoolExecutor() as pool:
        yield lambda: pool.submit(worker.poll)


def stop(user: Person, room: str, message: str) -> Reply:
    return user.post(f"/chatroom/{room}/message/{message}/stop")


def get_partial(user: Person, room: str, message: str, start: int = 0) -> Any:
    """Return the partial reply of a prompt, or None if the prompt is not generating."""
    shown = user.get(f"/chatroom/{room}/message/{message}?from={start}")
    assert shown.status == 200, shown.text
    return shown.data.get("partial")


def test_a_queued_prompt_is_stopped_and_refunded_and_never_sent_to_gemini(
    basic_user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    message = basic_user.ask(room)
    assert basic_user.count_prompts() == 1
    stopped = stop(basic_user, room, message)
    assert (stopped.status, stopped.data["status"]) == (202, "stopped")
    assert basic_user.fetch_message(room, message)["status"] == "stopped"
    assert basic_user.fetch_message(room, message)["reply"] is None
    assert basic_user.count_prompts() == 0
    worker.drain()
    assert google.requests() == []
    check(basic_user, [room], [message])
    assert stop(basic_user, room, message).json["type"].endswith("not-generating")


def test_a_generating_prompt_is_stopped_and_keeps_the_text_of_its_reply(
    basic_user: Person, room: str, google: StandIn, run_worker: Callable[[], Future[Batch]]
) -> None:
    google.fault("answer", events=PIECES, pause=0.05)
    message = basic_user.ask(room)
    work = run_worker()
    wait_until(lambda: (get_partial(basic_user, room, message) or {}).get("text"))
    shown = get_partial(basic_user, room, message)
    assert (shown["attempt"], shown["from"]) == (1, 0)
    assert stop(basic_user, room, message).data["status"] == "generating"
    assert work.result(timeout=20).failed == []
    end = basic_user.fetch_message(room, message)
    assert (end["status"], end["reply"]["finish"]) == ("stopped", "stopped")
    assert end["reply"]["content"].startswith(shown["text"].rstrip())
    assert "piece 199" not in end["reply"]["content"]
    assert end["reply"]["usage"]["outputTokens"] > 0
    assert basic_user.count_prompts() == 1
    check(basic_user, [room], [message])
    assert live.read_watchers(basic_user.id, datetime.now(UTC)).stops == frozenset()


def test_an_edit_stops_and_refunds_queued_prompts_that_it_hides(
    basic_user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    hidden = [basic_user.ask(room, content) for content in ("one", "two")]
    edited = basic_user.edit(room, hidden[0], "ONE").data["messageId"]
    assert basic_user.count_prompts() == 3
    worker.drain()
    assert [basic_user.fetch_message(room, one)["status"] for one in hidden] == ["stopped"] * 2
    assert basic_user.fetch_message(room, edited)["status"] == "answered"
    assert [one["contents"][-1]["parts"][0]["text"] for one in google.requests()] == ["ONE"]
    assert basic_user.count_prompts() == 1
    check(basic_user, [room], [*hidden, edited])


@pytest.mark.parametrize("act", ["edit", "undo"])
def test_an_edit_or_an_undo_stops_a_generating_prompt_that_it_hides(
    act: str,
    basic_user: Person,
    room: str,
    worker: Poller,
    google: StandIn,
    run_worker: Callable[[], Future[Batch]],
) -> None:
    message = basic_user.ask(room, "one")
    if act == "undo":
        worker.drain()
        message = basic_user.regenerate(room, message).data["messageId"]
    google.fault("answer", events=PIECES, pause=0.05)
    work = run_worker()
    wait_until(lambda: basic_user.fetch_message(room, message)["status"] == "generating")
    reply = basic_user.undo(room) if act == "undo" else basic_user.edit(room, message, "ONE")
    assert reply.status in (200, 202)
    work.result(timeout=20)
    google.reset()
    worker.drain()
    assert basic_user.fetch_message(room, message)["status"] == "stopped"
    shown = [one["content"] for one in basic_user.page(room)]
    assert shown[::2] == (["one"] if act == "undo" else ["ONE"])
    assert len(shown) == 2
    check(basic_user, [room])


def test_a_prompt_is_stopped_while_it_waits_for_the_first_text_of_gemini(
    basic_user: Person, room: str, google: StandIn, run_worker: Callable[[], Future[Batch]]
) -> None:
    google.fault("stall", seconds=30)
    message = basic_user.ask(room)
    work = run_worker()
    wait_until(lambda: basic_user.fetch_message(room, message)["status"] == "generating")
    assert stop(basic_user, room, message).status == 202
    work.result(timeout=20)
    end = basic_user.fetch_message(room, message)
    assert (end["status"], end["reply"]) == ("stopped", None)
    check(basic_user, [room], [message])


def test_a_stopped_reply_is_part_of_the_history(
    basic_user: Person, room: str, google: StandIn, worker: Poller,
    run_worker: Callable[[], Future[Batch]],
) -> None:  # fmt: skip
    google.fault("answer", events=PIECES[:2], hold=30)
    message = basic_user.ask(room, "one")
    work = run_worker()
    wait_until(lambda: (get_partial(basic_user, room, message) or {}).get("text"))
    stop(basic_user, room, message)
    work.result(timeout=20)
    second = basic_user.ask(room, "two")
    worker.drain()
    assert "before that: one" in basic_user.fetch_message(room, second)["reply"]["content"]
    past = google.requests()[-1]["contents"]
    assert past[1]["parts"][0]["text"] == "piece 0 piece 1"


def lease_and_die(user: Person, room: str, text: str = "") -> str:
    """Send a prompt, lease it to a worker that dies after some text, and return the prompt's id."""
    message = user.ask(room)
    prompt = leases.lease_prompt(room, 1, "l_dead", datetime.now(UTC), timedelta(seconds=20))
    assert prompt
    if text:
        pieces.put_piece(room, 1, prompt.attempt, Piece(0, text), datetime.now(UTC))
    return message


@pytest.mark.parametrize("by", ["worker", "sweep"])
def test_a_stop_takes_effect_after_the_worker_has_died(
    by: str, basic_user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    message = lease_and_die(basic_user, room, "The text so far")
    assert stop(basic_user, room, message).status == 202
    end_leases(room)
    if by == "sweep":
        purge("PromptsQueue")
        run_sweep(timedelta(hours=1))
    else:
        worker.drain()
    end = basic_user.fetch_message(room, message)
    assert (end["status"], end["reply"]["content"]) == ("stopped", "The text so far")
    assert google.requests() == []
    check(basic_user, [room], [message])


def test_a_stop_that_is_stored_only_in_the_prompts_item_takes_effect_after_a_failed_attempt(
    basic_user: Person, room: str, google: StandIn, worker: Poller, wire: Wire
) -> None:
    message = basic_user.ask(room)
    google.fault("error", status=503)
    wire.cut(
        BATCH_GET,
        "meanwhile",
        do=lambda: request_stop(room, 1),
        holding=(live.Live.table_name(),),
    )
    assert worker.poll().failed == []
    assert basic_user.fetch_message(room, message)["status"] == "stopped"
    check(basic_user, [room], [message])


RACES = int(os.environ.get("STOP_RACES", "20"))
"""The number of races between a stop and the end of the reply."""


def test_a_stop_at_the_end_of_a_reply_leaves_one_consistent_outcome(
    pro_user: Person, google: StandIn, worker: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "0")
    rooms = [pro_user.open_room() for _ in range(RACES)]
    outcomes = set()
    for number, room in enumerate(rooms):
        google.fault("answer", events=[PIECES[0], last("The end.")], pause=0.02, match=room)
        message = pro_user.ask(room, f"Hello ({room})")
        with ThreadPoolExecutor() as pool:
            work = pool.submit(worker.poll)
            time.sleep(number / RACES * 0.4)
            answer = stop(pro_user, room, message)
            work.result(timeout=10)
        worker.redeliver()
        worker.drain()
        end = pro_user.fetch_message(room, message)
        assert end["status"] in FINAL
        if answer.status == 409:
            assert end["status"] == "answered"
        elif answer.data["status"] == "stopped":
            assert (end["status"], end["reply"]) == ("stopped", None)
        outcomes.add((answer.status, end["status"]))
    recover(worker, rooms)
    check(pro_user, rooms)
    assert len(outcomes) > 1


def test_a_stop_of_another_users_prompt_or_an_unknown_prompt_is_a_404(
    basic_user: Person, pro_user: Person, room: str, worker: Poller
) -> None:
    message = basic_user.ask(room)
    assert stop(pro_user, room, message).status == 404
    assert stop(basic_user, room, ids.message_id(room, 7)).status == 404
    worker.drain()
    assert stop(basic_user, room, ids.message_id(room, 2)).status == 404, "a reply was stopped"
    answered = stop(basic_user, room, message)
    assert answered.status == 409


@pytest.mark.parametrize(("start", "text"), [(0, "a\U0001f600bcd"), (3, "bcd"), (5, "d"), (6, "")])
def test_a_poll_returns_the_partial_reply_from_an_offset_on(
    start: int, text: str, basic_user: Person, room: str
) -> None:
    message = lease_and_die(basic_user, room)
    for offset, text_so_far in ((0, "a\U0001f600"), (3, "bc"), (5, "d")):
        pieces.put_piece(room, 1, 1, Piece(offset, text_so_far), datetime.now(UTC))
    assert get_partial(basic_user, room, message, start) == {
        "attempt": 1,
        "from": start,
        "text": text,
    }
    assert get_partial(basic_user, room, message, start + 50)["from"] == 6
    assert "partial" not in basic_user.fetch_message(room, message)


@pytest.mark.parametrize("start", ["-1", "x", "1.5", "1" * 10, "null"])
def test_a_poll_with_an_invalid_offset_is_a_400(start: str, basic_user: Person, room: str) -> None:
    message = basic_user.ask(room)
    assert basic_user.get(f"/chatroom/{room}/message/{message}?from={start}").status == 400
    assert basic_user.get(f"/chatroom/{room}/message/{message}?from=").status == 200


def test_a_late_and_shorter_piece_does_not_replace_a_longer_piece(room: str) -> None:
    pieces.put_piece(room, 1, 1, Piece(0, "a longer text"), NOON)
    pieces.put_piece(room, 1, 1, Piece(0, "a"), NOON)
    assert pieces.read_text(room, 1, 1, 0).text == "a longer text"


def test_the_attempt_numbers_of_a_prompt_continue_after_its_retry(
    basic_user: Person, room: str, google: StandIn, worker: Poller
) -> None:
    google.fault("blocked")
    message = basic_user.ask(room)
    worker.drain()
    assert basic_user.retry(room, message).status == 202
    worker.drain()
    [prompt] = prompts(room)
    assert (prompt.status, int(prompt.attempts), int(prompt.attempt)) == (Status.ANSWERED, 1, 2)
    assert isinstance(messages_in(room)[0], StoredMessage)
