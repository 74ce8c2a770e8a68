"""A ban while prompts are queued or generating, and while a connection is open."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from geminichat.domain.live import EndedFrame
from geminichat.tables import live
from tests.support import operators
from tests.support.gemini_events import piece
from tests.support.lambdas import Api, Poller
from tests.support.parallel import wait_until
from tests.support.person import Person, check_problem
from tests.support.sockets import Connections, Socket
from tests.support.standins import StandIn
from tests.support.stored import prompts

PIECE = piece("more and more ")


@pytest.fixture
def ann(api: Api) -> Person:
    return Person.new_proven(api)


def list_statuses(room: str) -> list[str | None]:
    return [prompt.status for prompt in prompts(room)]


def test_queued_prompts_of_a_banned_user_are_refunded_and_never_sent_to_gemini(
    ann: Person, worker: Poller, google: StandIn
) -> None:
    rooms = [ann.open_room(), ann.open_room()]
    for room in rooms:
        ann.ask(room)
    assert ann.count_prompts() == 2
    operators.act("ban", ann.id)
    check_problem(ann.send(rooms[0]), 403, "account-suspended")
    worker.drain()
    assert [list_statuses(room) for room in rooms] == [["stopped"], ["stopped"]]
    assert (google.requests(), ann.count_prompts()) == ([], 0)


def test_a_ban_stops_a_generating_prompt_and_closes_the_users_connection(
    ann: Person, worker: Poller, google: StandIn, connections: Connections
) -> None:
    socket = Socket(ann.post("/live").data["url"])
    room = ann.open_room()
    google.fault("answer", events=[PIECE] * 200, pause=0.05)
    ann.ask(room)
    with ThreadPoolExecutor() as pool:
        work = pool.submit(worker.poll)
        wait_until(lambda: connections.frames(socket.id), seconds=20)
        operators.act("ban", ann.id)
        banned_at = time.monotonic()
        assert connections.closed == [socket.id]
        assert live.read_watchers(ann.id, datetime.now(UTC)).connections == ()
        assert work.result(timeout=10).failed == []
        assert time.monotonic() - banned_at < 5
    assert list_statuses(room) == ["stopped"]
    *_, last = connections.frames(socket.id)
    assert not isinstance(last, EndedFrame), "a frame about the end of the reply was posted"
