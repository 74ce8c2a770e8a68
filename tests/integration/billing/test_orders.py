"""A subscription's events in every order: in the end the stored plan equals the plan at Stripe.

The subscription at Stripe changes step by step. Before each event, a test applies only the changes
that the event needs: the change that causes the event, and all earlier changes.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geminichat.domain import ids, times
from geminichat.domain.plans import Plan
from geminichat.tables import subscriptions
from geminichat.tables.table import transact
from infra.local.standins.stripe import PRO_PRICE
from tests.support.billing import deliver
from tests.support.lambdas import Api
from tests.support.standins import Stripe

GIVES_PRO = {"active": True, "trialing": True, "past_due": True}


@dataclass
class Life:
    """A customer with a subscription that changes step by step; a test delivers the events."""

    api: Api
    stripe: Stripe
    user_id: str = field(default_factory=lambda: ids.new("u"))
    subscription: str = ""

    def __post_init__(self) -> None:
        """Create the customer at Stripe and store it, as POST /subscribe/pro does."""
        made = self._post("/v1/customers", {"metadata[user_id]": self.user_id})
        self.customer: str = made["id"]
        subscriptions.store_customer(self.user_id, self.customer)

    def change(self, move: str) -> dict[str, str]:
        """Change the subscription at Stripe; return each new event's id and type."""
        if move != "pay":
            return self.stripe.move(self.subscription, move)
        session = self._post(
            "/v1/checkout/sessions",
            {
                "mode": "subscription",
                "customer": self.customer,
                "line_items[0][price]": PRO_PRICE,
                "success_url": "https://front.example",
            },
        )["id"]
        made = self.stripe.act(session, "pay")
        self.subscription = self.stripe.get(f"/v1/checkout/sessions/{session}")["subscription"]
        return made

    def deliver(self, event_id: str) -> None:
        """Deliver an event, and check that it is accepted."""
        reply = deliver(self.api, self.stripe, event_id)
        assert reply.status == 200, reply.text

    def check(self) -> None:
        """Check that the stored plan and status equal those at Stripe."""
        params = {"customer": self.customer, "status": "all", "limit": 100}
        states = [one["status"] for one in self.stripe.get("/v1/subscriptions", **params)["data"]]
        row = subscriptions.load(self.user_id)
        assert (row.pro_until is not None) == any(GIVES_PRO.get(state) for state in states)
        if states:
            assert row.status in states

    def _post(self, path: str, form: dict[str, str]) -> dict[str, str]:
        answer = self.stripe.api.post(path, data=form)
        answer.raise_for_status()
        made: dict[str, str] = answer.json()
        return made


# Pairs of a change (or "") and the type of an event that is delivered.
ONE_LIFE = [
    ("pay", "customer.subscription.created"),
    ("", "checkout.session.completed"),
    ("fail-payment", "invoice.payment_failed"),
    ("pay-up", "invoice.paid"),
    ("cancel-at-period-end", "customer.subscription.updated"),
    ("cancel", "customer.subscription.deleted"),
]
ENDED_AND_BEGUN_AGAIN = [
    ("pay", "customer.subscription.created"),
    ("cancel-at-period-end", "customer.subscription.updated"),
    ("cancel", "customer.subscription.deleted"),
    ("pay", "customer.subscription.created"),
    ("", "invoice.paid"),
]


def replay(
    life: Life,
    story: Sequence[tuple[str, str]],
    order: Sequence[int],
    again: int,
    before_each: Callable[[int], None] = lambda _place: None,
) -> None:
    """Deliver the story's events in `order`; deliver the event at place `again` three times.

    `before_each` is called with the place of each delivery, and finally with the number of events.
    """
    happened: list[str] = []
    made: dict[str, str] = {}

    def advance() -> None:
        """Apply the next change of the story."""
        move, kind = story[len(happened)]
        made.update(life.change(move) if move else {})
        happened.append([event for event in made if made[event] == kind][-1])

    for place, event in enumerate(order):
        before_each(place)
        while len(happened) <= event:
            advance()
        life.deliver(happened[event])
        if place == again:
            life.deliver(happened[event])
    while len(happened) < len(story):
        advance()
    before_each(len(order))
    life.deliver(happened[order[again]])


ORDERS = list(permutations(range(len(ONE_LIFE))))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "orders",
    [ORDERS[::7], pytest.param(ORDERS, marks=pytest.mark.soak)],
    ids=["every seventh", "all"],
)
def test_the_stored_state_equals_the_state_at_stripe_after_six_events_in_any_order(
    api: Api, stripe: Stripe, orders: Sequence[Sequence[int]]
) -> None:
    for number, order in enumerate(orders):
        life = Life(api, stripe)
        replay(life, ONE_LIFE, order, again=number % 6)
        life.check()
        assert subscriptions.load(life.user_id).status == "canceled"


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_the_stored_state_equals_the_state_at_stripe_after_mixed_events_of_two_subscriptions(
    api: Api, stripe: Stripe, length: int
) -> None:
    for number, order in enumerate(permutations(range(length))):
        life = Life(api, stripe)
        replay(life, ENDED_AND_BEGUN_AGAIN[:length], order, again=number % length)
        life.check()


def replay_with_grant(
    api: Api, stripe: Stripe, order: Sequence[int], changes: Collection[int]
) -> None:
    """Replay the events, and before each place in `changes` grant pro or revoke the grant.

    At every place, check that no event has changed the grant, and that the plan is pro if the grant
    or the subscription gives pro.
    """
    life, until = Life(api, stripe), datetime.now(UTC) + timedelta(days=400)
    granted: str | None = None

    def check_or_change(place: int) -> None:
        nonlocal granted
        before = subscriptions.load(life.user_id)
        assert before.granted_until == granted
        is_pro = subscriptions.plan_of(before, datetime.now(UTC)) is Plan.PRO
        assert is_pro == bool(granted or before.pro_until)
        if place not in changes:
            return
        if granted:
            granted = None
            transact(subscriptions.revoke(life.user_id))
        else:
            granted = times.text(until)
            transact(subscriptions.grant(life.user_id, until))
        after = subscriptions.load(life.user_id)
        assert (after.pro_until, after.status) == (before.pro_until, before.status)

    replay(life, ENDED_AND_BEGUN_AGAIN[: len(order)], order, 0, check_or_change)
    life.check()
    assert subscriptions.load(life.user_id).granted_until == granted


@pytest.mark.parametrize("length", [2, 3, 4])
@pytest.mark.parametrize("first", [0, 1])
def test_events_in_any_order_do_not_change_a_granted_pro_plan(
    api: Api, stripe: Stripe, length: int, first: int
) -> None:
    for order in permutations(range(length)):
        replay_with_grant(api, stripe, order, range(first, length + 1))
        replay_with_grant(api, stripe, order, [first])


MOVES = [
    "pay",
    "cancel-at-period-end",
    "keep",
    "cancel",
    "fail-payment",
    "pay-up",
    "end-period",
    "pause",
    "resume",
    "give-up",
]


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    names=st.lists(st.sampled_from(["change", "deliver", "repeat"]), min_size=7, max_size=25),
    seed=st.integers(0, 2**32),
)
def test_the_stored_state_equals_the_state_at_stripe_after_random_and_repeated_events(
    api: Api, stripe: Stripe, names: list[str], seed: int
) -> None:
    life, chance = Life(api, stripe), random.Random(seed)  # the number of events may vary
    waiting, delivered = list(life.change("pay")), list[str]()

    def change() -> None:
        move = chance.choice(MOVES)
        answer = stripe._http.post(f"/_subscriptions/{life.subscription}/{move}")
        if move == "pay":
            live = life.stripe.get("/v1/subscriptions", customer=life.customer)["data"]
            waiting.extend([] if live else life.change("pay"))
        elif answer.status_code == 200:  # not every move is possible in every state
            waiting.extend(one["id"] for one in answer.json()["events"])

    def take(events: list[str]) -> str:
        return events.pop(chance.randrange(len(events)))

    def deliver_one() -> None:
        if waiting:
            delivered.append(take(waiting))
            life.deliver(delivered[-1])

    def repeat_one() -> None:
        if delivered:
            life.deliver(chance.choice(delivered))

    acts = {"change": change, "deliver": deliver_one, "repeat": repeat_one}
    for name in names:
        acts[name]()
    while waiting:
        deliver_one()
    life.check()
