"""Concurrent calls of `sync_subscription.store_newest`, in every possible order of their steps.

The steps of several handlers (load, fetch, store) run one at a time, in every possible order, while
the state at Stripe changes between them. Each handler runs in a thread that stops before each step;
a list of choices decides which handler continues, and all lists are tried.
"""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geminichat.domain.billing import SubscriptionState
from geminichat.operations.sync_subscription import Synced, store_newest
from geminichat.tables.subscriptions import Subscription

CUSTOMER = "cus_1"


@dataclass
class World:
    """Stripe and the table. A state is a number: the number of changes so far."""

    at_stripe: int = 0
    revision: int = 0
    history: list[int] = field(default_factory=list)
    replaced: list[tuple[int, int]] = field(default_factory=list)

    def item(self) -> Subscription:
        """Return the stored item."""
        status = str(self.history[-1] if self.history else 0)
        return Subscription("u_1", status=status, revision=self.revision)


class Handler:
    """A handler in a thread, which runs one `step` at a time. `world` is its Stripe and table."""

    def __init__(self, world: World, *, stale: bool) -> None:
        self._world = world
        self._stale = stale
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self.done = False
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread, which stops before its first step."""
        self._thread.start()
        self._stopped.acquire()

    def step(self) -> None:
        """Run one step."""
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
            self._sync()
        except BaseException as failure:
            self.failure = failure
        self.done = True
        self._stopped.release()

    def _sync(self) -> None:
        known = Subscription("u_1", status="0") if self._stale else self.load("u_1")
        synced = store_newest(known, CUSTOMER, fetch=self.fetch, load=self.load, store=self.store)
        if synced:
            self._world.replaced.append((int(synced.before.status), int(synced.state.status)))

    def load(self, _user_id: str) -> Subscription:
        self._stop()
        return self._world.item()

    def fetch(self, customer_id: str) -> SubscriptionState:
        assert customer_id == CUSTOMER
        self._stop()
        return SubscriptionState(status=str(self._world.at_stripe))

    def store(self, before: Subscription, customer_id: str, state: SubscriptionState) -> bool:
        assert customer_id == CUSTOMER
        self._stop()
        if self._world.revision != before.revision:
            return False
        self._world.revision += 1
        self._world.history.append(int(state.status))
        return True


def play(choose: Callable[[int], int], *, events: int, more: int = 0, stale: bool = False) -> World:
    """Run a world until no step is left, and return it.

    Each of the first `events` changes at Stripe starts a handler; `more` later changes start none.
    `choose` gets the number of possible next steps, and returns the index of the next step. With
    `stale`, each handler first reads an outdated item, as from an index.
    """
    world = World()
    handlers: list[Handler] = []
    while True:
        running = [handler for handler in handlers if not handler.done]
        ways = len(running) + (world.at_stripe < events + more)
        if not ways:
            return world
        choice = choose(ways)
        if choice < len(running):
            running[choice].step()
            continue
        world.at_stripe += 1
        if len(handlers) < events:
            handlers.append(Handler(world, stale=stale))
            handlers[-1].start()


def play_every_order(*, events: int, more: int = 0, stale: bool = False) -> Iterator[World]:
    """Run the steps in every possible order; yield the world after each run."""
    choices: list[int] = []
    while True:
        widths: list[int] = []

        def choose(ways: int, widths: list[int] = widths, choices: list[int] = choices) -> int:
            widths.append(ways)
            if len(widths) > len(choices):
                choices.append(0)
            return choices[len(widths) - 1]

        yield play(choose, events=events, more=more, stale=stale)
        while choices and choices[-1] + 1 == widths[len(choices) - 1]:
            choices.pop()
        if not choices:
            return
        choices[-1] += 1


def check(world: World, events: int) -> None:
    assert world.history[-1] >= events, "the stored state contains every change"
    assert world.history == sorted(world.history), "an older state never replaced a newer one"
    assert world.replaced == list(pairwise([0, *world.history])), (
        "each sync names the replaced state"
    )


@pytest.mark.parametrize("stale", [False, True])
def test_the_newest_state_is_stored_in_every_order_of_two_stripe_events(stale: bool) -> None:
    orders = 0
    for world in play_every_order(events=2, stale=stale):
        check(world, 2)
        orders += 1
    assert orders >= 10


def test_the_newest_state_is_stored_after_a_change_without_a_stripe_event() -> None:
    for world in play_every_order(events=2, more=1):
        check(world, 2)


def test_the_newest_state_is_stored_after_three_stripe_events_and_outdated_reads() -> None:
    """The third try is needed: with two tries, some orders lose a change."""
    chance = random.Random(1)
    for _ in range(1_500):
        check(play(chance.randrange, events=3, stale=True), 3)


@pytest.mark.soak
def test_the_newest_state_is_stored_in_every_order_of_three_stripe_events() -> None:
    """With two tries, 20 of these 11,550 orders lose a change."""
    for world in play_every_order(events=3, stale=True):
        check(world, 3)


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(3, 6), st.booleans())
def test_the_newest_state_is_stored_in_random_orders_of_up_to_six_stripe_events(
    data: st.DataObject, events: int, stale: bool
) -> None:
    choices = st.integers(0, 9)
    world = play(lambda ways: data.draw(choices) % ways, events=events, stale=stale)
    check(world, events)


class Losing:
    """A table in which another request always stores its state first."""

    def __init__(self, customer_id: str | None = CUSTOMER) -> None:
        self.fetches = 0
        self._customer_id = customer_id

    def sync(self) -> Synced | None:
        return store_newest(
            Subscription("u_1", stripe_customer_id=CUSTOMER),
            CUSTOMER,
            fetch=self.fetch,
            load=self.load,
            store=self.store,
        )

    def load(self, user_id: str) -> Subscription:
        return Subscription(user_id, stripe_customer_id=self._customer_id)

    def fetch(self, _customer_id: str) -> SubscriptionState:
        self.fetches += 1
        return SubscriptionState()

    def store(self, *_: object) -> bool:
        return False


def test_a_sync_that_loses_three_races_keeps_the_winners_state() -> None:
    world = Losing()
    assert world.sync() is None
    assert world.fetches == 3


@pytest.mark.parametrize("customer_id", ["cus_2", None])
def test_a_sync_ends_if_the_customer_was_replaced_or_the_item_was_deleted(
    customer_id: str | None,
) -> None:
    world = Losing(customer_id)
    assert world.sync() is None
    assert world.fetches == 1
