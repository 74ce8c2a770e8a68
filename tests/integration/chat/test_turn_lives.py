"""Random edits, regenerations, undos and forks, compared with a simple model of the rooms.

The model of a room is the list of its prompts, copied before every edit. Every page must equal the
model, and every request to Gemini must contain exactly the answered prompts that the room showed.
"""

import random
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.person import Person, check_problem
from tests.support.standins import StandIn
from tests.support.stored import messages_in
from tests.support.template import Values

NUMBERS = st.integers(0, 10_000)


@dataclass(eq=False)
class Prompt:
    """An accepted prompt, and the earlier prompts that the room showed at that time."""

    id: str
    content: str
    past: list["Prompt"]
    reply: str | None = None
    failed: bool = False
    """True for a prompt that ended without a reply: it failed, or was hidden and stopped."""

    @property
    def has_ended(self) -> bool:
        return self.failed or self.reply is not None

    @property
    def position(self) -> int:
        return int(self.id.rpartition("_")[2])

    @property
    def reply_id(self) -> str:
        return f"{self.id.rpartition('_')[0]}_{self.position + 1}"


@dataclass(eq=False)
class Room:
    """A room: its line, and the lines that undos restore."""

    id: str
    line: list[Prompt] = field(default_factory=list)
    before: list[list[Prompt]] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    """All prompts, also the hidden ones."""


class TurnLives(RuleBasedStateMachine):
    """The events in one user's rooms, as rules of Hypothesis."""

    api: ClassVar[Api]
    google: ClassVar[StandIn]
    worker: ClassVar[Poller]
    requests: ClassVar[int] = 0
    """The number of requests to Gemini that were compared."""

    def __init__(self) -> None:
        super().__init__()
        self.user = Person(self.api)
        self.user.subscribe()
        self.rooms: list[Room] = [Room(self.user.open_room())]
        self.counted = 0
        self.contents = count(1)
        self.google.reset()
        self.google.fault("blocked", match="harm", times="always")

    def content(self, number: int) -> str:
        return f"{'harm ' if number % 5 == 0 else ''}prompt {next(self.contents)}."

    def accept(self, room: Room, reply: Reply, content: str) -> None:
        """Add an accepted prompt to the model, at the end of the line."""
        assert reply.status == 202, reply.text
        assert reply.data["message"]["content"] == content
        prompt = Prompt(reply.data["messageId"], content, list(room.line))
        room.line.append(prompt)
        room.prompts.append(prompt)
        self.counted += 1

    @precondition(lambda self: len(self.rooms) < 3)
    @rule()
    def open_room(self) -> None:
        self.rooms.append(Room(self.user.open_room()))

    @precondition(lambda self: self.rooms)
    @rule(number=NUMBERS)
    def send(self, number: int) -> None:
        room, content = self.rooms[number % len(self.rooms)], self.content(number)
        self.accept(room, self.user.send(room.id, content), content)

    @precondition(lambda self: any(room.line for room in self.rooms))
    @rule(number=NUMBERS, at=NUMBERS, again=st.booleans())
    def replace(self, number: int, at: int, again: bool) -> None:
        """Edit or regenerate a prompt of the line."""
        room = self.pick(number)
        place = at % len(room.line)
        prompt = room.line[place]
        content = prompt.content if again else self.content(number)
        if again:
            named = prompt.reply_id if number % 2 else prompt.id
            reply = self.user.regenerate(room.id, named)
        else:
            reply = self.user.edit(room.id, prompt.id, content)
        room.before.append(room.line)
        room.line = room.line[:place]
        self.accept(room, reply, content)

    @precondition(lambda self: self.rooms)
    @rule(number=NUMBERS)
    def undo(self, number: int) -> None:
        room = self.rooms[number % len(self.rooms)]
        reply = self.user.undo(room.id)
        if not room.before:
            check_problem(reply, 409, "nothing-to-undo")
            return
        assert reply.status == 200, reply.text
        room.line = room.before.pop()

    @precondition(lambda self: any(room.line for room in self.rooms))
    @rule(number=NUMBERS, at=NUMBERS)
    def fork(self, number: int, at: int) -> None:
        room = self.pick(number)
        copied = room.line[: at % len(room.line) + 1]
        reply = self.user.fork(room.id, copied[-1].id)
        if not all(prompt.has_ended for prompt in copied):
            check_problem(reply, 409, "still-generating")
            return
        assert reply.status == 201, reply.text
        fork = Room(reply.data["id"])
        for place, prompt in enumerate(copied):
            copy = Prompt(
                f"m_{fork.id.removeprefix('r_')}_{2 * place + 1}", prompt.content, fork.line[:]
            )
            copy.reply, copy.failed = prompt.reply, prompt.failed
            fork.line.append(copy)
        fork.prompts = list(fork.line)
        self.rooms.append(fork)

    @precondition(lambda self: any(room.line for room in self.rooms))
    @rule(number=NUMBERS, at=NUMBERS)
    def refuse_hidden(self, number: int, at: int) -> None:
        """Check that a hidden prompt cannot be edited, and that polls after it ask for a reload."""
        room = self.pick(number)
        hidden = [prompt for prompt in room.prompts if prompt not in room.line]
        if not hidden:
            return
        prompt = hidden[at % len(hidden)]
        assert self.user.fetch_message(room.id, prompt.id)["hidden"] is True
        check_problem(self.user.edit(room.id, prompt.id, "x"), 409, "changed-meanwhile")
        page = self.user.get(f"/chatroom/{room.id}/message?limit=100&after={prompt.id}").data
        assert page["reload"] is True
        position = room.prompts.index(prompt)
        shown = [one["id"] for one in page["messages"] if one["sender"] == "user"]
        assert shown == [one.id for one in room.prompts[position:] if one in room.line]

    @precondition(lambda self: len(self.rooms) > 1)
    @rule(number=NUMBERS)
    def delete(self, number: int) -> None:
        room = self.rooms.pop(number % len(self.rooms))
        assert self.user.delete(room.id).status == 204
        for prompt in room.prompts:  # until the sweep purges the room, the worker may answer them
            prompt.failed = True

    @rule()
    def work(self) -> None:
        """Run the worker, update the model, and check each request to Gemini."""
        waiting = [prompt for room in self.rooms for prompt in room.line if not prompt.has_ended]
        self.google.reset()
        self.google.fault("blocked", match="harm", times="always")
        self.worker.drain()
        for room in self.rooms:
            found = {int(message.seq): message for message in messages_in(room.id)}
            for prompt in room.prompts:
                if prompt.has_ended:
                    continue
                status = found[prompt.position].status
                prompt.failed = status != "answered"
                if prompt not in room.line:
                    assert status == "stopped"
                    self.counted -= 1
                elif prompt.failed:
                    assert status == "failed"
                    assert prompt.content.startswith("harm")
                else:
                    prompt.reply = found[prompt.position + 1].content
        pasts = [self.list_expected_texts(prompt) for prompt in waiting]
        contents = {prompt.content for room in self.rooms for prompt in room.prompts}
        for request in self.google.requests():
            texts = [one["parts"][0]["text"] for one in request["contents"]]
            if texts[-1] in contents:  # skips prompts of deleted rooms
                assert texts in pasts
                TurnLives.requests += 1

    def list_expected_texts(self, prompt: Prompt) -> list[str]:
        """Return the texts that Gemini must receive: the history and the prompt."""
        texts: list[str] = []
        for earlier in prompt.past:
            if earlier.reply is not None:
                texts += [earlier.content, earlier.reply]
        return [*texts, prompt.content]

    def pick(self, number: int) -> Room:
        """Return one of the rooms that show at least one prompt."""
        filled = [room for room in self.rooms if room.line]
        return filled[number % len(filled)]

    @invariant()
    def pages_equal_the_model(self) -> None:
        for room in self.rooms:
            expected: list[Any] = []
            for prompt in room.line:
                expected.append((prompt.id, prompt.content))
                if prompt.reply is not None:
                    expected.append((prompt.reply_id, prompt.reply))
            forward = self.user.page(room.id)
            assert [(one["id"], one["content"]) for one in forward] == expected
            newest = self.user.get(f"/chatroom/{room.id}?limit=3").data
            assert newest["messages"] == forward[-3:]
            assert newest["canUndo"] == bool(room.before)
            assert (newest["nextCursor"] is not None) == (len(forward) > 3)

    @invariant()
    def counts_equal_the_accepted_prompts(self) -> None:
        assert self.user.count_prompts() == self.counted

    def teardown(self) -> None:
        """Run the worker, and check that every accepted prompt has ended."""
        self.work()
        assert all(prompt.has_ended for room in self.rooms for prompt in room.prompts)


COMMON = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.fixture(autouse=True)
def world(api: Api, google: StandIn, values: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HISTORY_TURNS", "50")
    monkeypatch.setenv("BURST_PROMPTS", "0")
    TurnLives.api, TurnLives.google = api, google
    TurnLives.worker = Poller([values.refs["ProPromptsQueue"]], "GeminiWorker")


def test_random_edits_undos_and_forks_match_the_model_of_the_line() -> None:
    once = settings(COMMON, max_examples=4, stateful_step_count=20)
    run_state_machine_as_test(TurnLives, settings=once)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_many_random_edits_undos_and_forks_match_the_model_of_the_line() -> None:
    """Each run uses new sequences; the report of a failure says how to repeat its sequence."""
    many = settings(COMMON, derandomize=False, max_examples=50, stateful_step_count=40)
    run_state_machine_as_test(TurnLives, settings=many)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_none_of_ten_thousand_requests_to_gemini_contains_a_hidden_turn() -> None:
    TurnLives.requests = 0
    while TurnLives.requests < 10_000:
        lives = TurnLives()
        for _ in range(20):
            for act in random.choices("ssssseru", k=3):
                number, at = random.randrange(10_000), random.randrange(10_000)
                if act == "s":
                    lives.send(number)
                elif act == "u":
                    lives.undo(number)
                elif lives.rooms[0].line:
                    lives.replace(number, at, again=act == "e")
            lives.work()
        lives.pages_equal_the_model()
        print(TurnLives.requests, "requests compared")
