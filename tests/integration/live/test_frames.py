"""The frames that a worker posts and the pieces that it stores while a reply grows."""

import logging
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from geminichat.domain.live import MAX_FRAME, AgainFrame, EndedFrame, LookFrame, TextFrame
from geminichat.operations import live_reply
from geminichat.tables import live, pieces
from geminichat.tables.messages.stored import StoredMessage
from tests.support.gemini_events import whole as whole_reply
from tests.support.lambdas import Api, Poller
from tests.support.person import Person
from tests.support.sockets import Connections, Socket
from tests.support.standins import StandIn
from tests.support.template import Values
from tests.support.wire import ALWAYS, BATCH_GET, PUT, TRANSACT, UPDATE, Wire

PAUSE = 0.05


WORDS = [f"word{number} " for number in range(50)]
"""The pieces of a reply that takes 2.5 seconds."""


@pytest.fixture
def ann(api: Api) -> Person:
    return Person(api)


@pytest.fixture
def room(ann: Person) -> str:
    return ann.open_room()


def connect(person: Person, ago: timedelta = timedelta(0)) -> str:
    """Store a connection that was opened `ago` before now, and return its id."""
    connection_id = secrets.token_urlsafe(10) + "="
    opened = datetime.now(UTC) - ago
    live.open_connection(person.id, connection_id, person.session_id, secrets.token_hex(8), opened)
    return connection_id


def answer(
    person: Person, room: str, google: StandIn, worker: Poller, texts: list[str] = WORDS
) -> tuple[str, float]:
    """Send a prompt and run the worker; return the prompt's id and the worker's run time."""
    google.fault("answer", events=whole_reply(texts), pause=PAUSE)
    message = person.ask(room)
    began = time.monotonic()
    worker.poll()
    return message, time.monotonic() - began


def test_a_reply_that_nobody_watches_causes_no_pieces_and_no_posts(
    ann: Person, room: str, google: StandIn, worker: Poller, wire: Wire, connections: Connections
) -> None:
    wire.reset()
    _, seconds = answer(ann, room, google, worker)
    calls = wire.calls()
    assert calls.count(PUT) == 0
    assert calls.count(TRANSACT) == 2, "the prompt did not take exactly two transactions"
    assert connections.posted == []
    reads = wire.calls(about=(live.Live.table_name(),))
    assert 2 <= reads.count(BATCH_GET) <= seconds + 2, (
        "the live table was read more often than once per second"
    )


@pytest.fixture
def watched_reply(
    ann: Person, room: str, google: StandIn, worker: Poller, wire: Wire, connections: Connections
) -> tuple[str, Connections, list[str]]:
    """A reply of 2.5 seconds that a connection watched: the connection, posts and AWS calls."""
    connection = connect(ann)
    wire.reset()
    answer(ann, room, google, worker)
    calls = wire.calls(PUT, about=(live.Live.table_name(),))
    return connection, connections, calls


def test_a_watched_reply_takes_two_table_calls_and_at_most_four_posts_per_second(
    watched_reply: tuple[str, Connections, list[str]],
) -> None:
    _, api, calls = watched_reply
    seconds = api.times[-1] - api.times[0]
    assert 1 <= calls.count(PUT) <= seconds + 1
    assert calls.count(BATCH_GET) <= seconds + 2
    assert 5 <= len(api.times) <= 4 * seconds + 2


def test_frames_have_overlapping_parts_of_the_reply_and_then_report_its_end(
    watched_reply: tuple[str, Connections, list[str]],
) -> None:
    connection, api, _ = watched_reply
    *texts, end = api.frames(connection)
    assert isinstance(end, EndedFrame)
    assert end.status == "answered"
    whole = "".join(WORDS)
    for frame in texts:
        assert isinstance(frame, TextFrame)
        assert whole[frame.start :].startswith(frame.text)
    starts = [frame.start for frame in texts if isinstance(frame, TextFrame)]
    ends = [frame.start + len(frame.text) for frame in texts if isinstance(frame, TextFrame)]
    assert starts == sorted(starts)
    assert starts[-1] > 0, "the last frame has the whole text"
    assert ends == sorted(ends)
    assert all(start < end for start, end in zip(starts[1:], ends, strict=False)), (
        "the frames do not overlap"
    )


def test_slow_posts_do_not_delay_the_reply(
    ann: Person, room: str, google: StandIn, worker: Poller, connections: Connections
) -> None:
    answer(ann, room, google, worker)
    seconds = []
    for watches in (False, True):
        if watches:
            connections.delay = 5
            for _ in range(3):
                connect(ann)
        sent = datetime.now(UTC)
        message, _ = answer(ann, room, google, worker)
        reply = ann.fetch_message(room, message)["reply"]
        seconds.append((datetime.fromisoformat(reply["createdAt"]) - sent).total_seconds())
    assert seconds[1] - seconds[0] < 0.8, "the reply waited for a post"


@pytest.mark.parametrize("character", ["x", "\U0001f600", "\n", "\u0430"])
def test_no_frame_is_larger_than_24_kb(
    character: str, ann: Person, room: str, google: StandIn, worker: Poller,
    connections: Connections,
) -> None:  # fmt: skip
    connection = connect(ann)
    message, _ = answer(ann, room, google, worker, [f"a{character * 1_000}b" for _ in range(30)])
    frames = connections.frames(connection)
    assert any(isinstance(frame, LookFrame) for frame in frames)
    assert max(len(body.encode()) for _, body in connections.posted) <= MAX_FRAME
    assert len(ann.fetch_message(room, message)["reply"]["content"]) >= 30_000


def test_posts_slow_down_while_they_are_refused(
    ann: Person, room: str, google: StandIn, worker: Poller, connections: Connections
) -> None:
    connect(ann)
    connections.status = 429
    answer(ann, room, google, worker)
    *pauses, _ = (after - before for before, after in pairwise(connections.times))
    assert pauses, "no post followed a refused post"
    for number, pause in enumerate(pauses, 1):
        slowdown = min(2**number, live_reply.MOST_SLOWDOWN)
        assert pause > 0.8 * live_reply.FAST * slowdown


@pytest.mark.parametrize(("age", "kept"), [(0, True), (60, False)])
def test_a_connection_that_is_gone_is_removed_unless_it_was_opened_just_before(
    age: int, kept: bool, ann: Person, room: str, google: StandIn, worker: Poller,
    connections: Connections,
) -> None:  # fmt: skip
    connection = connect(ann, timedelta(seconds=age))
    connections.status = 410
    answer(ann, room, google, worker)
    watchers = live.read_watchers(ann.id, datetime.now(UTC)).connections
    assert watchers == ((connection,) if kept else ())


def test_a_connection_that_is_removed_while_gemini_is_silent_receives_no_more_frames(
    ann: Person, room: str, google: StandIn, worker: Poller, connections: Connections
) -> None:
    connection = connect(ann)
    google.fault("answer", events=whole_reply(WORDS[:4]), pause=2.5)
    ann.ask(room)
    with ThreadPoolExecutor() as pool:
        work = pool.submit(worker.poll)
        while not connections.posted:
            time.sleep(0.05)
        live.close_connection(ann.id, connection)
        work.result()
    assert len(connections.posted) == 1


def test_a_frame_announces_the_second_attempt_of_a_prompt(
    ann: Person, room: str, google: StandIn, worker: Poller, connections: Connections
) -> None:
    connection = connect(ann)
    google.fault("error", status=503)
    message = ann.ask(room)
    worker.poll()
    assert connections.posted == [], "a frame was posted for an attempt without text"
    worker.redeliver()
    worker.poll()
    again, *_, end = connections.frames(connection)
    assert again == AgainFrame(message_id=message, attempt=2)
    assert end == EndedFrame(message_id=message, status="answered")


def test_the_worker_stores_pieces_for_a_client_that_polls(
    ann: Person, room: str, google: StandIn, worker: Poller
) -> None:
    google.fault("answer", events=whole_reply(WORDS), pause=PAUSE)
    message = ann.ask(room)
    assert ann.get(f"/chatroom/{room}/message/{message}?from=0").data["status"] == "queued"
    assert live.read_watchers(ann.id, datetime.now(UTC)).is_anyone_there
    assert not live.read_watchers(ann.id, datetime.now(UTC) + timedelta(minutes=1)).is_anyone_there
    worker.poll()
    kept = pieces.read_text(room, 1, 1, 0).text
    assert kept
    assert "".join(WORDS).startswith(kept)


def test_the_worker_prolongs_the_lease_of_a_prompt_while_gemini_is_silent(
    ann: Person, room: str, google: StandIn, worker: Poller, wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(live_reply, "HEARTBEAT", 1.0)
    google.fault("stall", seconds=3)
    message = ann.ask(room)
    wire.reset()
    worker.poll()
    assert ann.fetch_message(room, message)["status"] == "answered"
    assert wire.calls().count(UPDATE) >= 3, "the lease was not prolonged twice"


def test_an_attempt_that_lost_its_lease_stops_its_request_to_gemini(
    ann: Person, room: str, google: StandIn, worker: Poller, wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(live_reply, "HEARTBEAT", 1.0)
    google.fault("stall", seconds=30)
    ann.ask(room)
    wire.reset()
    wire.cut(
        UPDATE,
        "meanwhile",
        nth=2,
        do=lambda: StoredMessage(room, 1).update([StoredMessage.lease.set("l_other")]),
        holding=(room,),
    )
    began = time.monotonic()
    worker.poll()
    assert time.monotonic() - began < 5


SAID = {
    "whole": "prompt answered",
    "broken off": "gemini failed",
    "garbled": "gemini failed",
    "declined": "gemini failed",
    "no pieces": "not shown",
    "not stored": "attempt failed",
    "titled": "prompt answered",
}
"""The ways in which a reply ends, each with a text that the log has then."""


def test_no_ticket_and_no_token_and_no_reply_is_logged(
    api: Api, google: StandIn, worker: Poller, values: Values, wire: Wire,
    connections: Connections, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    connections.refused = 0.3
    mark = secrets.token_hex(8)
    whole = whole_reply([f"{mark} {number} " for number in range(24)])
    secret = [mark]
    for way in SAID:
        person = Person.new(api)
        url = str(person.post("/live").data["url"])
        socket = Socket(url)
        assert socket.status == 200
        assert Socket(url).status == 401, "a used ticket was accepted"
        room = person.open_room(None if way == "titled" else way)
        sent: list[Any] = whole
        match way:
            case "broken off":
                sent = whole[:-1]
            case "garbled":
                sent = [*whole[:-1], {"candidates": mark}]
            case "declined":
                sent = [*whole[:-1], {"candidates": [{"finishReason": "SAFETY"}]}]
            case "no pieces":
                wire.cut(PUT, "failing", times=ALWAYS, holding=(room,))
            case "not stored":
                wire.cut(TRANSACT, "failing", nth=2, times=8, holding=(room,))
        google.fault("answer", events=sent, pause=PAUSE, match=f"{way} {mark}")
        message = person.ask(room, f"{way} {mark}")
        assert person.get(f"/chatroom/{room}/message/{message}?from=0").status == 200
        socket.send("renew")
        ticket = url.partition("ticket=")[2]
        secret += [ticket, ticket[40:80], person.token, person.refresh_token]
    worker.poll()
    Poller([values.refs["TitlesQueue"]], "TitlesGenerate", batch_size=1).drain()
    assert mark in str(connections.posted)
    logged = {record.getMessage() for record in caplog.records}
    assert set(SAID.values()) <= logged
    lines = [f"{vars(one)} {logging.Formatter().format(one)}" for one in caplog.records]
    written = "".join([*capsys.readouterr(), *lines])
    assert [one for one in secret if one in written] == []
