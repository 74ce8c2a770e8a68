"""A failure or a crash at every network call that handles a prompt.

When redelivery, pauses, leases and the sweep have ended, invariants 1 to 3 of ARCHITECTURE.md hold:
no accepted prompt is lost, none is answered twice, and the counts equal the stored prompts.
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
from tests.support.aftermath import check, list_waiting, recover, run_sweep
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
    """A user with one room, the worker and Gemini's stand-in, and the expected state."""

    user: Person
    worker: Poller
    google: StandIn
    room: str = ""
    accepted: list[str] = field(default_factory=list)
    line: list[Any] = field(default_factory=list)
    """The messages that the room showed before the action."""
    deleted: bool = False
    one_prompt: bool = False
    verify: Callable[[], None] = lambda: None
    """An extra check of the path, when no prompt is unfinished."""

    def record(self, reply: Reply) -> Reply:
        """Remember the id of a prompt that was accepted, and return the reply of the API."""
        if reply.status == 202:
            self.accepted.append(reply.data["messageId"])
        return reply

    def prompt(self) -> StoredMessage:
        """Return the room's newest prompt."""
        return list(prompts(self.room))[-1]


# ── The paths: preparation, action and calls ─────────────────────────────────────────────────────


def open_room(scene: Scene) -> None:
    scene.room = scene.user.open_room("Named")


def open_room_on_pro(scene: Scene) -> None:
    scene.user.subscribe()
    open_room(scene)


def queue_prompt(scene: Scene) -> None:
    open_room(scene)
    scene.record(scene.user.send(scene.room, "Who was Ada?"))
    scene.worker.drain()
    scene.record(scene.user.send(scene.room, f"And Grace? ({scene.room})"))


def lose_queue_message(scene: Scene) -> None:
    open_room(scene)
    scene.record(scene.user.send(scene.room))
    queues.purge("PromptsQueue")


def fail_prompt(scene: Scene) -> None:
    open_room(scene)
    scene.google.fault("blocked", match=scene.room)
    scene.record(scene.user.send(scene.room, f"Hello ({scene.room})"))
    scene.worker.drain()
    assert scene.prompt().status == Status.FAILED


def queue_prompt_with_gemini_down(scene: Scene) -> None:
    queue_prompt(scene)
    scene.google.fault("error", status=503, match=scene.room)


def queue_prompt_that_gemini_blocks(scene: Scene) -> None:
    queue_prompt(scene)
    scene.google.fault("blocked", match=scene.room)


def queue_prompt_with_one_attempt_left(scene: Scene) -> None:
    queue_prompt_with_gemini_down(scene)
    scene.prompt().update([StoredMessage.attempts.set(5)])


def lease_prompt_to_another_worker(scene: Scene) -> None:
    queue_prompt(scene)
    scene.prompt().update(
        [
            StoredMessage.status.set(Status.GENERATING),
            StoredMessage.lease.set("l_other"),
            StoredMessage.leased_until.set("2999-01-01T00:00:00.000Z"),
        ]
    )


def request_stop_after_a_crash(scene: Scene) -> None:
    lease_prompt_to_another_worker(scene)
    prompt = scene.prompt()
    prompt.update([StoredMessage.stop.set(True), StoredMessage.attempt.set(1)])
    end_leases(scene.room)
    now = datetime.now(UTC)
    pieces.put_piece(scene.room, int(prompt.seq), 1, Piece(0, "The text so far."), now)


def request_stop_of_a_lost_prompt(scene: Scene) -> None:
    request_stop_after_a_crash(scene)
    queues.purge("PromptsQueue")


def queue_only_the_second_prompt(scene: Scene) -> None:
    open_room(scene)
    scene.record(scene.user.send(scene.room, "Who was Ada?"))
    queues.purge("PromptsQueue")
    scene.record(scene.user.send(scene.room, "And Grace?"))


def use_up_attempts_of_a_lost_prompt(scene: Scene) -> None:
    lose_queue_message(scene)
    scene.prompt().update([StoredMessage.attempts.set(6)])


def use_up_attempts_of_a_queued_prompt(scene: Scene) -> None:
    open_room(scene)
    scene.record(scene.user.send(scene.room))
    scene.prompt().update([StoredMessage.attempts.set(6)])


def leave_dead_letter(scene: Scene) -> None:
    lose_queue_message(scene)
    queues.send_dead_letter(queues.job_of(scene.room, int(scene.prompt().seq)))


def delete_room(scene: Scene) -> None:
    open_room(scene)
    scene.record(scene.user.send(scene.room))
    scene.worker.drain()
    assert scene.user.delete(scene.room).status == 204
    scene.deleted = True


def send(scene: Scene) -> None:
    scene.record(scene.user.send(scene.room))


def send_until_accepted(scene: Scene) -> None:
    """Send one prompt with an Idempotency-Key, again and again until it is accepted."""
    scene.one_prompt = True
    for _ in range(5):
        with suppress(Died):
            reply = scene.record(scene.user.send(scene.room, key="k-1"))
            if reply.status == 202:
                return
            assert reply.status in (409, 500, 503), reply.text
    raise AssertionError("the prompt was never accepted")


def retry(scene: Scene) -> None:
    scene.record(scene.user.retry(scene.room, scene.accepted[0]))


def stop(scene: Scene) -> None:
    scene.user.post(f"/chatroom/{scene.room}/message/{scene.accepted[-1]}/stop")


def read_line(scene: Scene) -> list[Any]:
    """Return the visible messages of the room as pairs of sender and content."""
    return [(one["sender"], one["content"]) for one in scene.user.page(scene.room)]


def answer_two_prompts(scene: Scene) -> None:
    open_room(scene)
    for content in ("one", "two"):
        scene.record(scene.user.send(scene.room, content))
        scene.worker.drain()
    scene.line = read_line(scene)


def answer_an_edit(scene: Scene) -> None:
    answer_two_prompts(scene)
    edit(scene)
    scene.worker.drain()
    scene.line = read_line(scene)


def edit(scene: Scene) -> None:
    """Edit the first prompt; then the room shows either the edit or both old turns."""
    scene.verify = lambda: check_line(scene, ["ONE"])
    scene.record(scene.user.edit(scene.room, scene.accepted[0], "ONE"))


def undo(scene: Scene) -> None:
    """Undo the edit; then the room shows either both old turns or the edit."""
    scene.verify = lambda: check_line(scene, ["one", "two"])
    scene.user.undo(scene.room)


def check_line(scene: Scene, changed: list[str]) -> None:
    now = read_line(scene)
    assert now == scene.line or [content for _, content in now][::2] == changed, (
        "the room shows neither the old nor the new messages"
    )


def fork(scene: Scene) -> None:
    """Fork the room; then there is either a complete copy or no part of a copy."""
    scene.verify = lambda: check_fork(scene)
    scene.user.fork(scene.room, scene.accepted[-1])


def check_fork(scene: Scene) -> None:
    rooms = [one["id"] for one in scene.user.get("/chatroom").data["chatrooms"]]
    assert scene.room in rooms
    line = read_line(scene)
    for one in rooms:
        assert [(m["sender"], m["content"]) for m in scene.user.page(one)] == line, (
            "a fork is incomplete"
        )
    mine = StoredMessage.scan(StoredMessage.user_id == scene.user.id, consistent_read=True)
    assert {message.chatroom_id for message in mine} == set(rooms), (
        "messages of an incomplete fork are left"
    )
    assert Usage.get(scene.user.id, "rooms").rooms == len(rooms), "the count of rooms is wrong"


def poll(scene: Scene) -> None:
    assert scene.worker.poll().bodies


def sweep(_scene: Scene) -> None:
    run_sweep(SOON)


def delete_until_deleted(scene: Scene) -> None:
    for _ in range(5):
        with suppress(Died):
            if scene.user.delete(scene.room).status in (204, 404):
                scene.deleted = True
                return
    raise AssertionError("the room was never deleted")


@dataclass(frozen=True)
class Path:
    """An action, its preparation, and the network calls of the action in order."""

    before: Callable[[Scene], None]
    act: Callable[[Scene], None]
    calls: list[str]
    redis: int = 0
    gemini: int = 0


PATHS = {
    "send": Path(open_room, send, [BATCH_GET, BATCH_GET, TRANSACT, SEND], redis=2),
    "send with a key": Path(
        open_room, send_until_accepted, [BATCH_GET, BATCH_GET, TRANSACT, SEND], redis=2
    ),
    "send on pro": Path(open_room_on_pro, send, [BATCH_GET, BATCH_GET, TRANSACT, SEND], redis=2),
    "retry": Path(fail_prompt, retry, [BATCH_GET, TRANSACT, SEND], redis=1),
    "answer": Path(queue_prompt, poll, [UPDATE, BATCH_GET, QUERY, TRANSACT], gemini=1),
    "try again": Path(
        queue_prompt_with_gemini_down, poll, [UPDATE, BATCH_GET, QUERY, UPDATE, HIDE], gemini=1
    ),
    "fail": Path(
        queue_prompt_that_gemini_blocks, poll, [UPDATE, BATCH_GET, QUERY, TRANSACT], gemini=1
    ),
    "give up": Path(
        queue_prompt_with_one_attempt_left,
        poll,
        [UPDATE, BATCH_GET, QUERY, TRANSACT],
        redis=1,
        gemini=1,
    ),
    "give up after crashes": Path(
        use_up_attempts_of_a_queued_prompt, poll, [UPDATE, TRANSACT, SEND], redis=1
    ),
    "stop, queued": Path(queue_prompt, stop, [BATCH_GET, TRANSACT], redis=1),
    "stop, generating": Path(lease_prompt_to_another_worker, stop, [BATCH_GET, UPDATE, UPDATE]),
    "stop after a crash": Path(request_stop_after_a_crash, poll, [UPDATE, QUERY, TRANSACT, UPDATE]),
    "sweep, stop": Path(
        request_stop_of_a_lost_prompt, sweep, [RECEIVE, QUERY, GET, UPDATE, TRANSACT]
    ),
    "answer an earlier one first": Path(
        queue_only_the_second_prompt,
        poll,
        [
            *(UPDATE, BATCH_GET, QUERY, UPDATE),  # the second prompt is released
            *(UPDATE, BATCH_GET, TRANSACT),
            *(UPDATE, BATCH_GET, QUERY, TRANSACT),
        ],
        gemini=2,
    ),
    "leave to another": Path(lease_prompt_to_another_worker, poll, [UPDATE, GET, HIDE]),
    "sweep, queue": Path(lose_queue_message, sweep, [RECEIVE, QUERY, GET, UPDATE, SEND]),
    "sweep, fail": Path(
        use_up_attempts_of_a_lost_prompt, sweep, [RECEIVE, QUERY, GET, UPDATE, TRANSACT], redis=1
    ),
    "sweep, dead letter": Path(
        leave_dead_letter, sweep, [RECEIVE, GET, UPDATE, TRANSACT, QUERY], redis=1
    ),
    "edit": Path(answer_two_prompts, edit, [BATCH_GET, TRANSACT, SEND], redis=1),
    "undo": Path(answer_an_edit, undo, [BATCH_GET, TRANSACT], redis=1),
    "fork": Path(
        answer_two_prompts, fork, [BATCH_GET, TRANSACT, QUERY, BATCH_WRITE, TRANSACT], redis=1
    ),
    "delete": Path(queue_prompt, delete_until_deleted, [TRANSACT], redis=1),
    "purge": Path(delete_room, sweep, [RECEIVE, QUERY, BATCH_WRITE, DELETE]),
}

ANONYMOUS = {RECEIVE, HIDE, QUERY}
"""Calls that may name no user and no room in their requests."""

WAYS = {
    "refused": ("refused", 2),
    "lost once": ("lost", 1),
    "lost": ("lost", 2),
    "late": ("late", 2),
    "dies before": ("dies before", 1),
    "dies after": ("dies after", 1),
}
"""The ways in which a call fails (see Wire) and how often; the client tries each call twice."""

HALVES = ("refused", "lost once", "dies after"), ("lost", "late", "dies before")
"""The ways for the first, third, fifth … call of a path, and for the calls between them."""


@pytest.fixture
def new_scene(api: Api, worker: Poller, google: StandIn) -> Callable[[], Scene]:
    return lambda: Scene(Person(api), worker, google)


@pytest.mark.parametrize("name", PATHS)
def test_each_kind_of_request_makes_exactly_the_listed_calls(
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
def test_no_prompt_is_lost_or_answered_twice_when_any_call_fails(
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
    """Wait until all prompts have ended; return the violated invariant for each failed call."""
    rooms = [scene.room for scene in scenes.values()]
    recover(next(iter(scenes.values())).worker, rooms)
    left = list_waiting(rooms)
    wrong: dict[str, str] = {}
    for case, scene in scenes.items():
        try:
            if scene.deleted:
                assert messages_in(scene.room) == [], "a deleted room has messages"
            else:
                check(scene.user, [scene.room], scene.accepted)
            assert all(room != scene.room for room, _ in left), (
                "a prompt is in the index of unfinished prompts"
            )
            if scene.one_prompt:
                assert len(list(prompts(scene.room))) == 1, (
                    "one idempotency key stored several prompts"
                )
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
def test_no_request_fails_and_no_prompt_is_lost_when_redis_fails(
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
                assert len(scene.accepted) > before, f"refused because of the Redis fault {way!r}"
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


def test_every_prompt_gets_one_reply_or_an_error_when_gemini_fails(
    new_scene: Callable[[], Scene], google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_TIMEOUT", "1")
    scenes: dict[str, Scene] = {}
    for way, fault in GEMINI_WAYS.items():
        scene = scenes[way] = new_scene()
        open_room(scene)
        google.fault(**fault, match=scene.room)
        scene.record(scene.user.send(scene.room, f"Hello ({scene.room})"))
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
