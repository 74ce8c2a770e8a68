"""Transaction conflicts and throttling. The tests inject both, because no engine causes them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from geminichat.runtime import deadlines
from tests.support.aftermath import check, recover
from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.person import Person, check_problem
from tests.support.standins import StandIn
from tests.support.stored import messages_in, prompts
from tests.support.wire import ALWAYS, TRANSACT, UPDATE, Wire

pytestmark = pytest.mark.both_engines


REQUESTS: dict[str, tuple[str, int, Callable[[Person, str, str], Reply]]] = {
    "send": (TRANSACT, 202, lambda user, room, _: user.send(room)),
    "retry": (TRANSACT, 202, lambda user, room, failed: user.retry(room, failed)),
    "edit": (TRANSACT, 202, lambda user, room, failed: user.edit(room, failed, "Hello again")),
    "change": (
        UPDATE,
        200,
        lambda user, room, _: user.request("PATCH", f"/chatroom/{room}", json={"title": "New"}),
    ),
    "delete": (TRANSACT, 204, lambda user, room, _: user.delete(room)),
}


@pytest.fixture
def user(api: Api) -> Person:
    return Person(api)


def fail_prompt(user: Person, worker: Poller, google: StandIn) -> tuple[str, str]:
    room = user.open_room()
    google.fault("blocked", match=room)
    failed = user.ask(room, f"Hello ({room})")
    worker.drain()
    return room, failed


@pytest.mark.parametrize("name", REQUESTS)
def test_a_short_transaction_conflict_is_retried(
    name: str, user: Person, worker: Poller, google: StandIn, wire: Wire
) -> None:
    call, status, ask = REQUESTS[name]
    room, failed = fail_prompt(user, worker, google)
    conflict = wire.cut(call, "conflict", times=4, holding=(room,))
    assert ask(user, room, failed).status == status
    assert conflict.happened == 4
    recover(worker, [room])
    if name != "delete":
        check(user, [room])
        assert len(list(prompts(room))) == (2 if name.startswith(("send", "edit")) else 1)


def test_a_lasting_transaction_conflict_is_a_409_and_stores_nothing(
    api: Api, worker: Poller, google: StandIn, wire: Wire
) -> None:
    users = {name: Person(api) for name in REQUESTS}
    rooms = {name: fail_prompt(user, worker, google) for name, user in users.items()}
    before = {name: [vars(item) for item in messages_in(room)] for name, (room, _) in rooms.items()}

    def ask(name: str) -> Reply:
        return REQUESTS[name][2](users[name], *rooms[name])

    for name, (room, _) in rooms.items():
        wire.cut(REQUESTS[name][0], "conflict", times=ALWAYS, holding=(room,))
    with ThreadPoolExecutor(len(REQUESTS)) as pool:
        replies = dict(zip(REQUESTS, pool.map(ask, REQUESTS), strict=True))
    wire.reset()

    for name, reply in replies.items():
        room, _ = rooms[name]
        check_problem(reply, 409, "concurrent-requests")
        assert reply.headers["retry-after"] == "1"
        assert [vars(item) for item in messages_in(room)] == before[name], name
        assert users[name].count_prompts() == 1, "a refused request was counted"
        assert users[name].get(f"/chatroom/{room}").data["title"] == "New Chat"


def test_a_throttled_transaction_is_retried_and_finally_causes_a_503(
    user: Person, wire: Wire
) -> None:
    room = user.open_room()
    fault = wire.cut(TRANSACT, "over capacity", times=4, holding=(room,))
    assert (user.send(room).status, fault.happened) == (202, 4)
    wire.cut(TRANSACT, "over capacity", times=ALWAYS, holding=(room,))
    with deadlines.within(0.5):
        check_problem(user.send(room), 503, "unavailable")
    assert len(list(prompts(room))) == user.count_prompts() == 1


def test_a_prompt_is_answered_after_the_end_of_a_lasting_conflict(
    user: Person, worker: Poller, wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    room = user.open_room()
    sent = user.ask(room)
    wire.cut(TRANSACT, "conflict", times=ALWAYS, holding=(room,))
    assert worker.poll().failed
    assert "WorkerErrors" not in capsys.readouterr().out
    wire.reset()
    recover(worker, [room])
    check(user, [room], [sent])
    assert user.fetch_message(room, sent)["status"] == "answered"


def test_the_worker_retries_each_write_after_a_conflict(
    user: Person, worker: Poller, google: StandIn, wire: Wire
) -> None:
    room = user.open_room()
    google.fault("error", status=503, match="one")
    google.fault("blocked", match="two")
    sent = [user.ask(room, content) for content in ("one", "two", "three")]
    conflicts = [
        wire.cut(UPDATE, "conflict", times=2, holding=(room,)),  # the lease
        wire.cut(UPDATE, "conflict", nth=2, times=2, holding=(room,)),  # the release
        wire.cut(TRANSACT, "conflict", times=2, holding=(room,)),
    ]
    recover(worker, [room])
    assert all(conflict.happened for conflict in conflicts)
    check(user, [room], sent)
    ends = [user.fetch_message(room, message)["status"] for message in sent]
    assert ends == ["answered", "failed", "answered"]
