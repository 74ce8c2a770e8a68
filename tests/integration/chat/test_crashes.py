"""A crash at every network call on a prompt's path: before or after the call.

After redelivery, pauses, leases and the sweep, invariants 1 to 3 of ARCHITECTURE.md hold: no
accepted prompt is lost, none is answered twice, and the counts equal what is stored.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from geminichat.domain.live import Piece
from geminichat.domain.messages import Status
from geminichat.tables import pieces
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.usage import Usage
from geminichat.upstash import redis as redis_client
from tests.support import queues
from tests.support.aftermath import bring_to_rest, check, list_waiting, run_sweep
from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.stored import end_leases, messages_in, prompts
from tests.support.wire import (
    BATCH_GET,
    BATCH_WRITE,
    DELETE,
    GET,
    HIDE,
    QUERY,
    RECEIVE,
    SEND,
    TRANSACT,
    UPDATE,
    Died,
    Wire,
)

SOON = timedelta(minutes=15)


@dataclass
class Scene:
    """A user's room and the services that its prompts need."""

    user: Person
    worker: Poller
    google: StandIn
    room: str = ""
    accepted: list[str] = field(default_factory=list)
    line: list[Any] = field(default_factory=list)
    """What the room showed before the action."""
    deleted: bool = False
    one_prompt: bool = False
    verify: Callable[[], None] = lambda: None
    """A check of its own when nothing changes any more."""

    def note(self, reply: Reply) -> Reply:
        """Remember an accepted prompt."""
        if reply.status == 202:
            self.accepted.append(reply.data["messageId"])
        return reply

    def prompt(self) -> StoredMessage:
        """Return the room's newest prompt."""
        return list(prompts(self.room))[-1]


# ── The paths: preparation, action and calls ─────────────────────────────────────────────────────


def room(scene: Scene) -> None:
    scene.room = scene.user.open_room("Named")


def room_on_pro(scene: Scene) -> None:
    scene.user.subscribe()
    room(scene)


def room_with_a_queued_prompt(scene: Scene) -> None:
    room(scene)
    scene.note(scene.user.send(scene.room, "Who was Ada?"))
    scene.worker.drain()
    scene.note(scene.user.send(scene.room, f"And Grace? ({scene.room})"))


def room_with_a_lost_prompt(scene: Scene) -> None:
    room(scene)
    scene.note(scene.user.send(scene.room))
    queues.purge("PromptsQueue")


def room_with_a_failed_prompt(scene: Scene) -> None:
    room(scene)
    scene.google.fault("blocked", match=scene.room)
    scene.note(scene.user.send(scene.room, f"Hello ({scene.room})"))
    scene.worker.drain()
    assert scene.prompt().status == Status.FAILED


def queued_prompt_with_gemini_down(scene: Scene) -> None:
    room_with_a_queued_prompt(scene)
    scene.google.fault("error", status=503, match=scene.room)


def queued_prompt_that_gemini_blocks(scene: Scene) -> None:
    room_with_a_queued_prompt(scene)
    scene.google.fault("blocked", match=scene.room)


def queued_prompt_with_one_attempt_left(scene: Scene) -> None:
    queued_prompt_with_gemini_down(scene)
    scene.prompt().update([StoredMessage.attempts.set(5)])


def prompt_leased_by_another_worker(scene: Scene) -> None:
    room_with_a_queued_prompt(scene)
    scene.prompt().update(
        [
            StoredMessage.status.set(Status.GENERATING),
            StoredMessage.lease.set("l_other"),
            StoredMessage.leased_until.set("2999-01-01T00:00:00.000Z"),
        ]
    )


def prompt_to_stop_whose_worker_died(scene: Scene) -> None:
    prompt_leased_by_another_worker(scene)
    prompt = scene.prompt()
    prompt.update([StoredMessage.stop.set(True), StoredMessage.attempt.set(1)])
    end_leases(scene.room)
    now = datetime.now(UTC)
    pieces.put_piece(scene.room, int(prompt.seq), 1, Piece(0, "The text so far."), now)


def lost_prompt_to_stop(scene: Scene) -> None:
    prompt_to_stop_whose_worker_died(scene)
    queues.purge("PromptsQueue")


def room_with_a_prompt_that_was_not_queued(scene: Scene) -> None:
    room(scene)
    scene.note(scene.user.send(scene.room, "Who was Ada?"))
    queues.purge("PromptsQueue")
    scene.note(scene.user.send(scene.room, "And Grace?"))


def room_with_a_prompt_out_of_attempts(scene: Scene) -> None:
    room_with_a_lost_prompt(scene)
    scene.prompt().update([StoredMessage.attempts.set(6)])


def room_with_a_prompt_out_of_attempts_in_the_queue(scene: Scene) -> None:
    room(scene)
    scene.note(scene.user.send(scene.room))
    scene.prompt().update([StoredMessage.attempts.set(6)])


def room_with_a_dead_letter(scene: Scene) -> None:
    room_with_a_lost_prompt(scene)
    queues.send_dead_letter(queues.job_of(scene.room, int(scene.prompt().seq)))


def deleted_room(scene: Scene) -> None:
    room(scene)
    scene.note(scene.user.send(scene.room))
    scene.worker.drain()
    assert scene.user.delete(scene.room).status == 204
    scene.deleted = True


def send(scene: Scene) -> None:
    scene.note(scene.user.send(scene.room))


def send_until_accepted(scene: Scene) -> None:
    """Send one prompt, with an Idempotency-Key, until it is accepted."""
    scene.one_prompt = True
    for _ in range(5):
        with suppress(Died):
            reply = scene.note(scene.user.send(scene.room, key="k-1"))
            if reply.status == 202:
                return
            assert reply.status in (409, 500, 503), reply.text
    raise AssertionError("never accepted")


def retry(scene: Scene) -> None:
    scene.note(scene.user.retry(scene.room, scene.accepted[0]))


def stop(scene: Scene) -> None:
    scene.user.post(f"/chatroom/{scene.room}/message/{scene.accepted[-1]}/stop")


def read_line(scene: Scene) -> list[Any]:
    """Return the visible messages of the room as pairs of sender and content."""
    return [(one["sender"], one["content"]) for one in scene.user.page(scene.room)]


def room_with_two_turns(scene: Scene) -> None:
    room(scene)
    for content in ("one", "two"):
        scene.note(scene.user.send(scene.room, content))
        scene.worker.drain()
    scene.line = read_line(scene)


def room_with_an_edit(scene: Scene) -> None:
    room_with_two_turns(scene)
    edit(scene)
    scene.worker.drain()
    scene.line = read_line(scene)


def edit(scene: Scene) -> None:
    """Edit the first prompt: the room shows it, or both turns as before."""
    scene.verify = lambda: check_line(scene, ["ONE"])
    scene.note(scene.user.edit(scene.room, scene.accepted[0], "ONE"))


def undo(scene: Scene) -> None:
    """Undo the edit: the room shows both turns, or the edit as before."""
    scene.verify = lambda: check_line(scene, ["one", "two"])
    scene.user.undo(scene.room)


def check_line(scene: Scene, changed: list[str]) -> None:
    now = read_line(scene)
    assert now == scene.line or [content for _, content in now][::2] == changed, "a third line"


def fork(scene: Scene) -> None:
    """Fork the room: there is a whole copy, or none and nothing is left of it."""
    scene.verify = lambda: check_fork(scene)
    scene.user.fork(scene.room, scene.accepted[-1])


def check_fork(scene: Scene) -> None:
    rooms = [one["id"] for one in scene.user.get("/chatroom").data["chatrooms"]]
    assert scene.room in rooms
    line = read_line(scene)
    for one in rooms:
        assert [(m["sender"], m["content"]) for m in scene.user.page(one)] == line, "half a room"
    mine = StoredMessage.scan(StoredMessage.user_id == scene.user.id, consistent_read=True)
    assert {message.chatroom_id for message in mine} == set(rooms), "left of a fork"
    assert Usage.get(scene.user.id, "rooms").rooms == len(rooms), "counted wrongly"


def poll(scene: Scene) -> None:
    assert scene.worker.poll().bodies


def sweep(_scene: Scene) -> None:
    run_sweep(SOON)


def delete_until_gone(scene: Scene) -> None:
    for _ in range(5):
        with suppress(Died):
            if scene.user.delete(scene.room).status in (204, 404):
                scene.deleted = True
                return
    raise AssertionError("never deleted")


@dataclass(frozen=True)
class Path:
    """A path through the system: the preparation, the action, and its calls in order."""

    before: Callable[[Scene], None]
    act: Callable[[Scene], None]
    calls: list[str]
    redis: int = 0
    gemini: int = 0


PATHS = {
    "send": Path(room, send, [BATCH_GET, BATCH_GET, TRANSACT, SEND], redis=2),
    "send with a key": Path(
        room, send_until_accepted, [BATCH_GET, BATCH_GET, TRANSACT, SEND], redis=2
    ),
    "send on pro": Path(room_on_pro, send, [BATCH_GET, BATCH_GET, TRANSACT, SEND], redis=2),
    "retry": Path(room_with_a_failed_prompt, retry, [BATCH_GET, TRANSACT, SEND], redis=1),
    "answer": Path(room_with_a_queued_prompt, poll, [UPDATE, BATCH_GET, QUERY, TRANSACT], gemini=1),
    "try again": Path(
        queued_prompt_with_gemini_down, poll, [UPDATE, BATCH_GET, QUERY, UPDATE, HIDE], gemini=1
    ),
    "fail": Path(
        queued_prompt_that_gemini_blocks, poll, [UPDATE, BATCH_GET, QUERY, TRANSACT], gemini=1
    ),
    "give up": Path(
        queued_prompt_with_one_attempt_left,
        poll,
        [UPDATE, BATCH_GET, QUERY, TRANSACT],
        redis=1,
        gemini=1,
    ),
    "give up after crashes": Path(
        room_with_a_prompt_out_of_attempts_in_the_queue, poll, [UPDATE, TRANSACT, SEND], redis=1
    ),
    "stop, queued": Path(room_with_a_queued_prompt, stop, [BATCH_GET, TRANSACT], redis=1),
    "stop, generating": Path(prompt_leased_by_another_worker, stop, [BATCH_GET, UPDATE, UPDATE]),
    "stop after a crash": Path(
        prompt_to_stop_whose_worker_died, poll, [UPDATE, QUERY, TRANSACT, UPDATE]
    ),
    "sweep, stop": Path(lost_prompt_to_stop, sweep, [RECEIVE, QUERY, GET, UPDATE, TRANSACT]),
    "answer an earlier one first": Path(
        room_with_a_prompt_that_was_not_queued,
        poll,
        [
            *(UPDATE, BATCH_GET, QUERY, UPDATE),  # it is given back
            *(UPDATE, BATCH_GET, TRANSACT),
            *(UPDATE, BATCH_GET, QUERY, TRANSACT),
        ],
        gemini=2,
    ),
    "leave to another": Path(prompt_leased_by_another_worker, poll, [UPDATE, GET, HIDE]),
    "sweep, queue": Path(room_with_a_lost_prompt, sweep, [RECEIVE, QUERY, GET, UPDATE, SEND]),
    "sweep, fail": Path(
        room_with_a_prompt_out_of_attempts, sweep, [RECEIVE, QUERY, GET, UPDATE, TRANSACT], redis=1
    ),
    "sweep, dead letter": Path(
        room_with_a_dead_letter, sweep, [RECEIVE, GET, UPDATE, TRANSACT, QUERY], redis=1
    ),
    "edit": Path(room_with_two_turns, edit, [BATCH_GET, TRANSACT, SEND], redis=1),
    "undo": Path(room_with_an_edit, undo, [BATCH_GET, TRANSACT], redis=1),
    "fork": Path(
        room_with_two_turns, fork, [BATCH_GET, TRANSACT, QUERY, BATCH_WRITE, TRANSACT], redis=1
    ),
    "delete": Path(room_with_a_queued_prompt, delete_until_gone, [TRANSACT], redis=1),
    "purge": Path(deleted_room, sweep, [RECEIVE, QUERY, BATCH_WRITE, DELETE]),
}

ANONYMOUS = {RECEIVE, HIDE, QUERY}
"""Calls whose requests need not name a user or a room."""

WAYS = {
    "refused": ("refused", 2),
    "lost once": ("lost", 1),
    "lost": ("lost", 2),
    "late": ("late", 2),
    "dies before": ("dies before", 1),
    "dies after": ("dies after", 1),
}
"""The ways in which a call breaks (see Wire), and the times; the client tries twice."""

HALVES = ("refused", "lost once", "dies after"), ("lost", "late", "dies before")
"""The ways for every other call of a path, and for the calls between them."""


@pytest.fixture
def new_scene(api: Api, worker: Poller, google: StandIn) -> Callable[[], Scene]:
    return lambda: Scene(Person(api), worker, google)


@pytest.mark.parametrize("name", PATHS)
def test_the_crash_tests_list_every_call_of_each_path(
    name: str, new_scene: Callable[[], Scene], wire: Wire, redis: StandIn, google: StandIn
) -> None:
    path, scene = PATHS[name], new_scene()
    path.before(scene)
    wire.reset()
    before = len(redis.requests()), len(google.requests())
    path.act(scene)
    made = wire.calls(*ANONYMOUS, about=(scene.room, scene.user.id))
    assert (list(dict.fromkeys(made)) if path.act is sweep else made) == path.calls
    assert len(redis.requests()) - before[0] == path.redis
    assert len(google.requests()) - before[1] == path.gemini


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "ways", [HALVES, pytest.param((WAYS, WAYS), marks=pytest.mark.soak)], ids=["half", "all"]
)
@pytest.mark.parametrize("name", PATHS)
def test_no_prompt_is_lost_or_answered_twice_whichever_call_fails(
    name: str, ways: tuple[Iterable[str], Iterable[str]], new_scene: Callable[[], Scene], wire: Wire
) -> None:
    path = PATHS[name]
    scenes: dict[str, Scene] = {}
    for place, call in enumerate(path.calls):
        nth = path.calls[: place + 1].count(call)
        for way in ways[place % 2]:
            how, times = WAYS[way]
            scene = scenes[f"call {place + 1}, {call}, {way}"] = new_scene()
            path.before(scene)
            about = ("",) if call in ANONYMOUS else (scene.room, scene.user.id)
            broken = wire.cut(call, how, nth=nth, times=times, holding=about)
            with suppress(Died, Exception):
                path.act(scene)
            assert broken.happened, f"{call} was not reached"
            wire.breaks.clear()
            wire.deliver_late()
    wrong = find_violations(scenes)
    assert not wrong, f"{len(wrong)} of {len(scenes)}"


def find_violations(scenes: dict[str, Scene]) -> dict[str, str]:
    """Wait until nothing changes, and return the violated invariants by broken call."""
    rooms = [scene.room for scene in scenes.values()]
    bring_to_rest(next(iter(scenes.values())).worker, rooms)
    left = list_waiting(rooms)
    wrong: dict[str, str] = {}
    for case, scene in scenes.items():
        try:
            if scene.deleted:
                assert messages_in(scene.room) == [], "deleted, and still there"
            else:
                check(scene.user, [scene.room], scene.accepted)
            assert all(room != scene.room for room, _ in left), "still in the unfinished index"
            if scene.one_prompt:
                assert len(list(prompts(scene.room))) == 1, "one key, and two prompts"
            scene.verify()
        except AssertionError as error:
            wrong[case] = str(error).partition("\n")[0]
    return wrong


REDIS_WAYS: dict[str, dict[str, Any]] = {
    "refused": {"kind": "drop"},
    "lost": {"kind": "lost"},
    "times out": {"kind": "slow", "seconds": 0.7},
    "a proxy's page": {"kind": "status", "status": 502},
    "an error": {"kind": "error", "message": "ERR max requests limit exceeded"},
    "nothing": {"kind": "lie", "result": None},
    "nonsense": {"kind": "lie", "result": ["admitted", "gold", "many"]},
}


@pytest.mark.parametrize("name", ["send", "retry", "edit", "give up", "delete"])
def test_no_request_fails_and_no_prompt_is_lost_whatever_redis_does(
    name: str, new_scene: Callable[[], Scene], redis: StandIn
) -> None:
    path = PATHS[name]
    scenes: dict[str, Scene] = {}
    for place in range(path.redis):
        for way, fault in REDIS_WAYS.items():
            scene = scenes[f"call {place + 1}, {way}"] = new_scene()
            path.before(scene)
            before = len(scene.accepted)
            redis.fault(**fault, after=place)
            path.act(scene)
            if path.act in (send, retry, edit):
                assert len(scene.accepted) > before, f"refused when Redis did {way}"
            redis.reset()
            redis_client.close_circuit()
    wrong = find_violations(scenes)
    assert not wrong, f"{len(wrong)} of {len(scenes)}"


GEMINI_WAYS: dict[str, dict[str, Any]] = {
    **{
        f"error {status}": {"kind": "error", "status": status}
        for status in (400, 401, 403, 404, 429, 500, 503, 504)
    },
    "stalls": {"kind": "stall", "seconds": 1.5},
    "breaks off": {"kind": "drop"},
    "garbage": {"kind": "garbage"},
    "blocks": {"kind": "blocked"},
    "declines": {"kind": "finish", "reason": "SPII"},
    "no candidate": {"kind": "empty"},
    "no text": {"kind": "no-text"},
    "thinks": {"kind": "thought"},
    "is cut off": {"kind": "max-tokens"},
}


def test_every_prompt_gets_one_reply_or_a_reason_whatever_gemini_does(
    new_scene: Callable[[], Scene], google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_TIMEOUT", "1")
    scenes: dict[str, Scene] = {}
    for way, fault in GEMINI_WAYS.items():
        scene = scenes[way] = new_scene()
        room(scene)
        google.fault(**fault, match=scene.room)
        scene.note(scene.user.send(scene.room, f"Hello ({scene.room})"))
    poll(next(iter(scenes.values())))
    wrong = find_violations(scenes)
    assert not wrong, f"{len(wrong)} of {len(scenes)}"
    ended = {way: scene.prompt().error_code or "answered" for way, scene in scenes.items()}
    assert ended == dict.fromkeys(GEMINI_WAYS, "answered") | {
        "error 400": "not-accepted",
        "error 404": "model-retired",
        "blocks": "blocked",
        "declines": "blocked",
    }
