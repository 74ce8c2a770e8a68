"""What a customer's subscriptions at Stripe make of the plan."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import billing
from geminichat.domain.billing import (
    LIVE,
    RENEWAL_SLACK,
    KeySpent,
    Standing,
    StripeSubscription,
    pro_until,
    read_subscription,
    standing,
)

GRACE = timedelta(days=7)
START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
ENDED = ("canceled", "incomplete_expired")
STATES = (*LIVE, *ENDED, "a_state_of_tomorrow")


def subscription(status: str = "active", **more: Any) -> StripeSubscription:
    fields = {"id": "sub_1", "created": START, "period_start": START, "period_end": END}
    return StripeSubscription(status=status, **{"ends_at": None, **fields, **more})


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_paid_period_counts_until_its_renewal_is_overdue(status: str) -> None:
    assert pro_until(subscription(status), GRACE) == END + RENEWAL_SLACK


@pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
def test_what_will_end_gives_nothing_beyond_its_end(status: str) -> None:
    soon = START + timedelta(days=1)
    assert pro_until(subscription(status, ends_at=soon), GRACE) == soon


def test_an_overdue_payment_leaves_the_grace_period() -> None:
    assert pro_until(subscription("past_due"), GRACE) == START + GRACE
    assert pro_until(subscription("past_due"), timedelta(0)) == START


@pytest.mark.parametrize("status", ["unpaid", "paused", "incomplete", *ENDED, "new_one"])
def test_nothing_else_gives_pro(status: str) -> None:
    assert pro_until(subscription(status), GRACE) is None


def test_no_subscription_is_none() -> None:
    assert standing([], GRACE) == Standing()


def test_an_ended_one_does_not_take_from_a_running_one() -> None:
    old = subscription("canceled", id="sub_old", created=END)
    both = standing([old, subscription()], GRACE)
    assert (both.subscription_id, both.status) == ("sub_1", "active")


def test_an_ended_one_shows_no_period() -> None:
    ended = standing([subscription("canceled", ends_at=END)], GRACE)
    assert (ended.status, ended.period_end, ended.ends) == ("canceled", None, False)


moments = st.integers(0, 100).map(lambda days: START + timedelta(days=days))
subscriptions = st.lists(
    st.builds(
        StripeSubscription,
        id=st.uuids().map(str),
        status=st.sampled_from(STATES),
        created=moments,
        period_start=moments,
        period_end=moments,
        ends_at=st.none() | moments,
    ),
    max_size=5,
)


@given(subscriptions)
def test_the_plan_is_the_best_that_any_subscription_gives(found: list[StripeSubscription]) -> None:
    best = max((until for one in found if (until := pro_until(one, GRACE))), default=None)
    assert standing(found, GRACE).pro_until == best


@given(subscriptions, st.randoms(use_true_random=False))
def test_the_order_in_which_stripe_lists_them_decides_nothing_about_the_plan(
    found: list[StripeSubscription], random: Any
) -> None:
    shuffled = random.sample(found, len(found))
    assert standing(found, GRACE).pro_until == standing(shuffled, GRACE).pro_until


@given(subscriptions)
def test_a_live_one_is_never_hidden_by_an_ended_one(found: list[StripeSubscription]) -> None:
    if any(one.status in LIVE for one in found):
        assert standing(found, GRACE).status in LIVE


@pytest.mark.parametrize(
    ("status", "ends_at", "counts"),
    [
        ("active", None, True),
        ("trialing", None, True),
        ("past_due", None, True),
        ("active", END, False),
        ("unpaid", None, False),
        ("paused", None, False),
        ("canceled", None, False),
    ],
)
def test_those_count_as_renewing_that_will_be_paid_again(
    status: str, ends_at: datetime | None, counts: bool
) -> None:
    found = [subscription(), subscription(status, ends_at=ends_at)]
    assert billing.renewing(found) == 1 + counts


NEW = {
    "id": "sub_1",
    "status": "active",
    "created": 1_760_000_000,
    "cancel_at": None,
    "cancel_at_period_end": False,
    "items": {
        "data": [{"current_period_start": 1_760_000_000, "current_period_end": 1_762_592_000}]
    },
}
OLD = {
    **NEW,
    "items": {"data": [{"id": "si_1"}]},
    "current_period_start": 1_760_000_000,
    "current_period_end": 1_762_592_000,
}


def test_periods_are_read_from_the_items_and_from_the_older_place() -> None:
    assert read_subscription(NEW) == read_subscription(OLD)
    assert read_subscription(NEW).period_end == datetime.fromtimestamp(1_762_592_000, UTC)


def test_of_several_items_the_longest_period_counts() -> None:
    items = [*NEW["items"]["data"], {"current_period_start": 1, "current_period_end": 2}]  # type: ignore[index]
    assert read_subscription({**NEW, "items": {"data": items}}) == read_subscription(NEW)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, None),
        ({"cancel_at_period_end": True}, 1_762_592_000),
        ({"cancel_at_period_end": True, "cancel_at": 1_762_592_000}, 1_762_592_000),
        ({"cancel_at": 1_761_000_000}, 1_761_000_000),
    ],
)
def test_an_end_is_read_as_the_api_sets_it_and_as_the_portal_does(
    fields: dict[str, Any], end: int | None
) -> None:
    expected = None if end is None else datetime.fromtimestamp(end, UTC)
    assert read_subscription({**NEW, **fields}).ends_at == expected


def test_people_are_sent_back_to_the_front_end_or_to_the_apis_own_pages() -> None:
    assert billing.return_urls("https://chat.example/", "https://api.example") == (
        "https://chat.example/subscription/success?session_id={CHECKOUT_SESSION_ID}",
        "https://chat.example/subscription/cancel",
    )
    assert billing.return_urls("", "https://api.example")[1] == (
        "https://api.example/subscription/cancel"
    )


def test_a_spent_key_is_followed_by_one_fresh_one() -> None:
    made: list[int] = []

    def make(attempt: int) -> str:
        made.append(attempt)
        if attempt < 4:
            raise KeySpent("no")
        return "made"

    assert billing.with_fresh_key(3, make, lambda attempt: attempt + 1) == "made"
    assert made == [3, 4]
    with pytest.raises(KeySpent):
        billing.with_fresh_key(1, make, lambda attempt: attempt + 1)
    assert made == [3, 4, 1, 2]
