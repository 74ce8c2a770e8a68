"""`billing.follow` in every order in which its steps can meet those of others.

The steps of several handlers (look at the clock, have Stripe answer, store, look again) are run one
at a time, in every possible order, while Stripe's truth moves on between them. Handlers run in
threads that stop before each step; which one goes on is decided by a list of choices, and all lists
are gone through.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geminichat.domain import times
from geminichat.domain.billing import Standing, follow
from geminichat.errors import Unavailable

BEGAN = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """What is stored: the truth, as the number of times it had moved."""

    revision: int = 0
    read_at: str | None = None
    truth: int = 0


@dataclass
class World:
    """Stripe, the table, the time; every step takes `tick`."""

    tick: timedelta
    truth: int = 0
    row: Row = field(default_factory=Row)
    steps: int = 0
    history: list[int] = field(default_factory=list)
    changes: list[tuple[int, int]] = field(default_factory=list)

    def now(self) -> datetime:
        self.steps += 1
        return BEGAN + self.tick * self.steps

    def store(self, standing: Standing, read_at: datetime, revision: int) -> bool:
        if self.row.revision != revision:
            return False
        truth = int(standing.status)
        self.row = Row(revision + 1, times.text(read_at), truth)
        self.history.append(truth)
        return True


class Handler:
    """One event's handler in a thread of its own, which goes on only when it is told."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self.done = False
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Run up to the first step."""
        self._thread.start()
        self._stopped.acquire()

    def step(self) -> None:
        """Take one step."""
        self._go.release()
        self._stopped.acquire()
        if self.done:
            self._thread.join()
            if self.failure:
                raise self.failure

    def _stop(self) -> None:
        self._stopped.release()
        self._go.acquire()

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as failure:
            self.failure = failure
        self.done = True
        self._stopped.release()

    def _follow(self) -> None:
        world = self._world
        news_at = world.now()

        def find() -> Row:
            self._stop()
            return world.row

        def clock() -> datetime:
            self._stop()
            return world.now()

        def fetch() -> Standing:
            self._stop()
            return Standing(status=str(world.truth))

        def store(standing: Standing, read_at: datetime, revision: int) -> bool:
            self._stop()
            return world.store(standing, read_at, revision)

        followed = follow(
            news_at,
            find(),
            find=find,
            fetch=fetch,
            store=store,
            clock=clock,
            pause=lambda _: None,
        )
        if followed:
            replaced, standing = followed
            world.changes.append((replaced.truth, int(standing.status)))


def play(choose: Callable[[int], int], *, events: int, tick: timedelta, more: int = 0) -> World:
    """Run a world in which the truth moves `events` times and each move has its handler.

    Then it moves `more` times, and the news of that does not come. `choose` is given how many could
    go on, and says which one does.
    """
    world = World(tick)
    handlers: list[Handler] = []
    while True:
        running = [handler for handler in handlers if not handler.done]
        ways = len(running) + (world.truth < events + more)
        if not ways:
            return world
        choice = choose(ways)
        if choice < len(running):
            running[choice].step()
            continue
        world.truth += 1
        if len(handlers) < events:
            handlers.append(Handler(world))
            handlers[-1].start()


def every_order(*, events: int, tick: timedelta, more: int = 0) -> Iterator[World]:
    """Play every order there is."""
    choices: list[int] = []
    while True:
        widths: list[int] = []

        def choose(ways: int, widths: list[int] = widths, choices: list[int] = choices) -> int:
            widths.append(ways)
            if len(widths) > len(choices):
                choices.append(0)
            return choices[len(widths) - 1]

        yield play(choose, events=events, tick=tick, more=more)
        while choices and choices[-1] + 1 == widths[len(choices) - 1]:
            choices.pop()
        if not choices:
            return
        choices[-1] += 1


def check(world: World, events: int) -> None:
    assert world.row.truth >= events, "all news is in what stands"
    assert world.history == sorted(world.history), "an older truth never replaced a newer one"
    assert world.changes == list(pairwise([0, *world.history])), "each knows what it replaced"


TICKS = [timedelta(milliseconds=1), timedelta(seconds=1)]
"""So close that clocks cannot tell, and so far apart that they can."""


@pytest.mark.parametrize("tick", TICKS, ids=["close", "apart"])
def test_two_events_in_every_order(tick: timedelta) -> None:
    orders = 0
    for world in every_order(events=2, tick=tick):
        check(world, 2)
        orders += 1
    assert orders > 100


@pytest.mark.parametrize("tick", TICKS, ids=["close", "apart"])
def test_two_events_in_every_order_while_the_truth_moves_on(tick: timedelta) -> None:
    for world in every_order(events=2, tick=tick, more=1):
        check(world, 2)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(3, 5), st.sampled_from(TICKS))
def test_more_events_in_any_order(data: st.DataObject, events: int, tick: timedelta) -> None:
    choices = st.integers(0, 9)
    world = play(lambda ways: data.draw(choices) % ways, events=events, tick=tick)
    check(world, events)


def test_what_was_asked_after_the_news_is_not_asked_again() -> None:
    asked = BEGAN + timedelta(seconds=1)
    row = Row(revision=3, read_at=times.text(asked), truth=1)

    def fetch() -> Standing:
        raise AssertionError("asked")

    found = follow(BEGAN, row, find=lambda: row, fetch=fetch, store=lambda *_: True)
    assert found is None


def test_who_never_wins_gives_up_after_growing_pauses() -> None:
    row, pauses = Row(), list[float]()
    with pytest.raises(Unavailable):
        follow(
            BEGAN,
            row,
            find=lambda: row,
            fetch=Standing,
            store=lambda *_: False,
            pause=pauses.append,
        )
    assert len(pauses) == 7
    assert all(0 <= pause <= min(0.25, 0.04 * 2**n) for n, pause in enumerate(pauses))
