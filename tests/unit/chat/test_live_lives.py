"""Random lives of a live reply: workers crash, frames are lost, and a user may stop the reply.

The table and the network are in memory. The worker, the API and the documented reader handle the
texts with their real code.
"""

import random

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from geminichat.domain import live
from geminichat.domain.live import (
    AgainFrame,
    EndedFrame,
    GrowingText,
    Partial,
    Piece,
    PromptFrame,
)
from tests.support import reader_rule
from tests.support.reader_rule import Fetch, Shown

MESSAGE = "m_1"
TEXTS = st.sampled_from(["a", "bc ", "\U0001f600", "d\U0001f600e", "\u0430\u0431", "x" * 40])
ONE_IN_FIVE = st.integers(0, 4).map(lambda number: number == 0)


class Attempt:
    """One worker's attempt; it may continue after another worker has taken over."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.growing = GrowingText(MESSAGE, number)
        self.text = ""
        self.late_puts: list[Piece] = []


class Life(RuleBasedStateMachine):
    """A prompt, its attempts, the stored pieces, the undelivered frames, and a reader."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts = [Attempt(1)]
        self.is_alive = True
        self.is_to_stop = False
        self.stored: dict[int, dict[int, str]] = {1: {}}
        self.network: list[PromptFrame] = []
        self.shown = Shown()
        self.reply: str | None = None
        self.is_whole = False

    @property
    def current(self) -> Attempt:
        return self.attempts[-1]

    # ── The worker ──

    @precondition(lambda self: self.is_alive)
    @rule(text=TEXTS)
    def write(self, text: str) -> None:
        self.current.text += text
        self.current.growing.add(text)

    @precondition(lambda self: self.is_alive)
    @rule(outcome=st.sampled_from(["stored", "stored", "refused", "lost", "late"]))
    def store(self, outcome: str) -> None:
        piece = self.current.growing.next_piece()
        if piece is None:
            return
        if outcome in ("stored", "lost"):  # "lost" is the answer: the worker puts the piece again
            self.put(self.current, piece)
        if outcome == "late":
            self.current.late_puts.append(piece)
        if outcome == "stored":
            self.current.growing.note_stored(piece)

    def put(self, attempt: Attempt, piece: Piece) -> None:
        pieces = self.stored[attempt.number]
        if len(pieces.get(piece.start, "")) <= len(piece.text):
            pieces[piece.start] = piece.text

    @rule()
    def apply_late_puts(self) -> None:
        for attempt in self.attempts:
            for piece in attempt.late_puts:
                self.put(attempt, piece)
            attempt.late_puts.clear()

    @precondition(lambda self: self.is_alive)
    @rule(is_lost=ONE_IN_FIVE)
    def post(self, is_lost: bool) -> None:
        frame = reader_rule.decode(live.encode(self.current.growing.frame()))
        if not is_lost and frame and not isinstance(frame, live.RoomFrame):
            self.network.append(frame)

    @precondition(lambda self: self.is_alive)
    @rule()
    def crash(self) -> None:
        self.is_alive = False

    @precondition(lambda self: not self.is_alive and self.reply is None)
    @rule(is_lost=ONE_IN_FIVE)
    def take_over(self, is_lost: bool) -> None:
        """Lease the prompt again; after a request to stop, finish it with the stored text."""
        left = self.read_partial(0)
        self.attempts.append(Attempt(self.current.number + 1))
        self.stored[self.current.number] = {}
        if self.is_to_stop:
            self.finish(left.text, "stopped", is_lost)
            return
        self.is_alive = True
        if not is_lost:
            self.network.append(AgainFrame(message_id=MESSAGE, attempt=self.current.number))

    @precondition(lambda self: len(self.attempts) > 1)
    @rule(text=TEXTS)
    def continue_without_a_lease(self, text: str) -> None:
        """Store a piece and post a frame, as a worker that has lost its lease."""
        attempt = self.attempts[-2]
        attempt.text += text
        attempt.growing.add(text)
        if piece := attempt.growing.next_piece():
            self.put(attempt, piece)
            attempt.growing.note_stored(piece)
        self.network.append(attempt.growing.frame())

    @precondition(lambda self: self.reply is None)
    @rule()
    def ask_to_stop(self) -> None:
        self.is_to_stop = True

    @precondition(lambda self: self.is_alive)
    @rule(is_lost=ONE_IN_FIVE)
    def end(self, is_lost: bool) -> None:
        self.finish(self.current.text, "stopped" if self.is_to_stop else "answered", is_lost)

    def finish(self, reply: str, status: str, is_lost: bool) -> None:
        self.is_alive, self.reply = False, reply
        if status == "stopped" and self.shown.attempt == self.current.number:
            assert self.shown.text in reply
        if not is_lost:
            self.network.append(EndedFrame(message_id=MESSAGE, status=status))

    # ── The reader ──

    @precondition(lambda self: self.network)
    @rule(position=st.integers(0, 100), is_doubled=ONE_IN_FIVE)
    def deliver(self, position: int, is_doubled: bool) -> None:
        frame = self.network[position % len(self.network)]
        if not is_doubled:
            self.network.remove(frame)
        if self.is_whole:
            return
        seen = reader_rule.read(self.shown, frame)
        if isinstance(seen, Fetch):
            self.fetch(seen.start)
        else:
            self.show(seen)

    @rule()
    def reconnect(self) -> None:
        self.network.clear()
        self.fetch_text()

    @rule()
    def fetch_text(self) -> None:
        """Fetch the text, as a reader does after five seconds without a frame."""
        if not self.is_whole:
            self.fetch(live.utf16_length(self.shown.text))

    def fetch(self, start: int) -> None:
        if self.reply is not None:
            self.is_whole = True
            self.shown = Shown(self.current.number, self.reply)
            return
        seen = reader_rule.read(self.shown, self.read_partial(start))
        if isinstance(seen, Fetch):
            assert seen.start < start, "the reader repeats its fetch"
            self.fetch(seen.start)
        else:
            self.show(seen)

    def read_partial(self, start: int) -> Partial:
        stored = sorted(self.stored[self.current.number].items())
        pieces = [Piece(offset, text) for offset, text in stored]
        first = [number for number, piece in enumerate(pieces) if piece.start <= start]
        found = live.join(self.current.number, pieces[first[-1] if first else 0 :], start)
        return msgspec.json.decode(msgspec.json.encode(found), type=Partial)

    def show(self, shown: Shown) -> None:
        assert shown.attempt >= self.shown.attempt, "an earlier attempt is shown again"
        if shown.attempt == self.shown.attempt:
            assert len(shown.text) >= len(self.shown.text), "the shown text became shorter"
        self.shown = shown

    @invariant()
    def shown_text_is_a_beginning_of_its_attempts_text(self) -> None:
        if self.is_whole:
            assert self.shown.text == self.reply
        elif self.shown.attempt:
            assert self.attempts[self.shown.attempt - 1].text.startswith(self.shown.text)

    def teardown(self) -> None:
        """End the random sequence: the reader must show the stored reply."""
        if self.reply is None:
            if not self.is_alive:
                self.take_over(is_lost=False)
            if self.reply is None:
                self.end(is_lost=True)
        while self.network and not self.is_whole:
            self.deliver(0, is_doubled=False)
        self.fetch_text()
        assert self.shown.text == self.reply


def test_a_reader_shows_only_beginnings_of_the_reply_and_finally_the_whole_reply() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=200,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("lives", [2_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_random_lives_of_a_live_reply_end_with_the_stored_reply(lives: int) -> None:
    """Run the events without Hypothesis, because Hypothesis would take most of the time."""
    chance = random.Random()
    for _ in range(lives):
        run_random_events(Life(), chance)


def run_random_events(life: Life, chance: random.Random) -> None:
    for _ in range(chance.randrange(30)):
        is_lost = chance.random() < 0.2
        text = chance.choice(["a", "bc ", "\U0001f600", "\u0430", "x" * 40])
        match chance.randrange(12):
            case 0 | 1 if life.is_alive:
                life.write(text)
            case 2 if life.is_alive:
                life.store(chance.choice(["stored", "stored", "refused", "lost", "late"]))
            case 3 | 4 if life.is_alive:
                life.post(is_lost)
            case 5 | 6 | 7 if life.network:
                life.deliver(chance.randrange(100), chance.random() < 0.2)
            case 8 if life.is_alive:
                life.crash()
            case 8 if life.reply is None:
                life.take_over(is_lost)
            case 9 if len(life.attempts) > 1:
                life.continue_without_a_lease(text)
            case 10:
                chance.choice([life.apply_late_puts, life.reconnect, life.fetch_text])()
            case 11 if chance.random() < 0.2 and life.reply is None:
                life.ask_to_stop()
            case 11 if chance.random() < 0.2 and life.is_alive:
                life.end(is_lost)
        life.shown_text_is_a_beginning_of_its_attempts_text()
    life.teardown()
