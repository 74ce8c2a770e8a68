"""The plan that a customer's subscriptions at Stripe grant."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import billing
from geminichat.domain.billing import (
    ONGOING,
    RENEWAL_SLACK,
    KeyUsedUp,
    StripeSubscription,
    SubscriptionState,
    combine,
    compute_pro_until,
    parse_subscription,
)

GRACE = timedelta(days=7)
START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
ENDED = ("canceled", "incomplete_expired")
STATUSES = (*ONGOING, *ENDED, "a_future_status")


def subscription(status: str = "active", **more: Any) -> StripeSubscription:
    fields = {"id": "sub_1", "created": START, "period_start": START, "period_end": END}
    return StripeSubscription(status=status, **{"ends_at": None, **fields, **more})


@pytest.mark.parametrize("status", ["active", "trialing"])
def test_a_paid_period_grants_pro_until_its_renewal_is_overdue(status: str) -> None:
    assert compute_pro_until(subscription(status), GRACE) == END + RENEWAL_SLACK


@pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
def test_a_subscription_with_an_end_grants_pro_only_until_that_end(status: str) -> None:
    soon = START + timedelta(days=1)
    assert compute_pro_until(subscription(status, ends_at=soon), GRACE) == soon


def test_an_overdue_payment_grants_pro_for_the_grace_period() -> None:
    assert compute_pro_until(subscription("past_due"), GRACE) == START + GRACE
    assert compute_pro_until(subscription("past_due"), timedelta(0)) == START


@pytest.mark.parametrize("status", ["unpaid", "paused", "incomplete", *ENDED, "new_one"])
def test_only_the_statuses_active_trialing_and_past_due_grant_pro(status: str) -> None:
    assert compute_pro_until(subscription(status), GRACE) is None


def test_without_subscriptions_the_status_is_none() -> None:
    assert combine([], GRACE) == SubscriptionState()


def test_an_ended_subscription_does_not_hide_an_active_subscription() -> None:
    old = subscription("canceled", id="sub_old", created=END)
    both = combine([old, subscription()], GRACE)
    assert (both.subscription_id, both.status) == ("sub_1", "active")


def test_an_ended_subscription_shows_no_period() -> None:
    ended = combine([subscription("canceled", ends_at=END)], GRACE)
    assert (ended.status, ended.period_end, ended.ends) == ("canceled", None, False)


moments = st.integers(0, 100).map(lambda days: START + timedelta(days=days))
subscriptions = st.lists(
    st.builds(
        StripeSubscription,
        id=st.uuids().map(str),
        status=st.sampled_from(STATUSES),
        created=moments,
        period_start=moments,
        period_end=moments,
        ends_at=st.none() | moments,
    ),
    max_size=5,
)


@given(subscriptions)
def test_the_subscription_that_grants_pro_longest_decides_the_plan(
    found: list[StripeSubscription],
) -> None:
    best = max((until for one in found if (until := compute_pro_until(one, GRACE))), default=None)
    assert combine(found, GRACE).pro_until == best


@given(subscriptions, st.randoms(use_true_random=False))
def test_the_order_of_subscriptions_at_stripe_does_not_change_the_plan(
    found: list[StripeSubscription], random: Any
) -> None:
    shuffled = random.sample(found, len(found))
    assert combine(found, GRACE).pro_until == combine(shuffled, GRACE).pro_until


@given(subscriptions)
def test_an_ongoing_subscription_is_never_hidden_by_an_ended_subscription(
    found: list[StripeSubscription],
) -> None:
    if any(one.status in ONGOING for one in found):
        assert combine(found, GRACE).status in ONGOING


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
def test_subscriptions_that_will_be_charged_again_count_as_renewing(
    status: str, ends_at: datetime | None, counts: bool
) -> None:
    found = [subscription(), subscription(status, ends_at=ends_at)]
    assert billing.count_renewing(found) == 1 + counts


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


def test_periods_are_parsed_from_subscription_items_and_from_the_older_format() -> None:
    assert parse_subscription(NEW) == parse_subscription(OLD)
    assert parse_subscription(NEW).period_end == datetime.fromtimestamp(1_762_592_000, UTC)


def test_the_subscription_item_with_the_longest_period_decides_the_period() -> None:
    items = [*NEW["items"]["data"], {"current_period_start": 1, "current_period_end": 2}]  # type: ignore[index]
    assert parse_subscription({**NEW, "items": {"data": items}}) == parse_subscription(NEW)


@pytest.mark.parametrize(
    ("fields", "end"),
    [
        ({}, None),
        ({"cancel_at_period_end": True}, 1_762_592_000),
        ({"cancel_at_period_end": True, "cancel_at": 1_762_592_000}, 1_762_592_000),
        ({"cancel_at": 1_761_000_000}, 1_761_000_000),
    ],
)
def test_the_end_of_a_subscription_is_read_whether_the_api_or_the_portal_set_it(
    fields: dict[str, Any], end: int | None
) -> None:
    expected = None if end is None else datetime.fromtimestamp(end, UTC)
    assert parse_subscription({**NEW, **fields}).ends_at == expected


PAUSED = {**NEW, "pause_collection": {"behavior": "void", "resumes_at": None}}


@pytest.mark.parametrize(
    ("invoice", "until"),
    [
        ({"id": "in_1", "status": "paid"}, 1_762_592_000),
        ({"id": "in_1", "status": "void"}, 1_760_000_000),
        ({"id": "in_1", "status": "draft"}, 1_760_000_000),
        ({"id": "in_1", "status": "uncollectible"}, 1_760_000_000),
        ("in_1", 1_760_000_000),
        (None, 1_760_000_000),
    ],
)
def test_pro_ends_with_the_last_paid_period_while_payment_collection_is_paused(
    invoice: object, until: int
) -> None:
    paused = parse_subscription({**PAUSED, "latest_invoice": invoice})
    assert compute_pro_until(paused, GRACE) == datetime.fromtimestamp(until, UTC)
    assert billing.count_renewing([paused]) == 0


def test_pro_is_granted_again_after_collection_resumes() -> None:
    collected = parse_subscription({**PAUSED, "pause_collection": None})
    assert collected == parse_subscription(NEW)
    assert billing.count_renewing([collected]) == 1


def test_stripe_redirects_to_the_front_end_or_to_the_apis_own_pages() -> None:
    assert billing.build_return_urls("https://chat.example/", "https://api.example") == (
        "https://chat.example/subscription/success?session_id={CHECKOUT_SESSION_ID}",
        "https://chat.example/subscription/cancel",
    )
    assert billing.build_return_urls("", "https://api.example")[1] == (
        "https://api.example/subscription/cancel"
    )


def test_a_used_up_idempotency_key_is_replaced_only_once() -> None:
    attempts: list[int] = []

    def create(attempt: int) -> str:
        attempts.append(attempt)
        if attempt < 4:
            raise KeyUsedUp("no")
        return "created"

    assert billing.create_once(3, create, lambda attempt: attempt + 1) == "created"
    assert attempts == [3, 4]
    with pytest.raises(KeyUsedUp):
        billing.create_once(1, create, lambda attempt: attempt + 1)
    assert attempts == [3, 4, 1, 2]
