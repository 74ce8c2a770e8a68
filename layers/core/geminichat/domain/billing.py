"""What Stripe says of a customer, what that makes of the plan, and how to follow it safely."""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.domain.quota import Usage
from geminichat.errors import PaymentProviderFailed, Unavailable

RENEWAL_SLACK = timedelta(days=2)
"""How long a paid period that should have been renewed still counts: news of it may be late."""

CLOCK_MARGIN = timedelta(milliseconds=250)
"""How far the clocks of two sandboxes are trusted to be apart."""
TRIES = 8
LONGEST_PAUSE = CLOCK_MARGIN.total_seconds()
"""Seconds after which who has lost a race looks again: by then another may have had its news."""

NONE = "none"
"""The status of a user who never had a subscription."""
PAID = ("active", "trialing")
LIVE = (*PAID, "past_due", "unpaid", "paused", "incomplete")
"""The states of a subscription that has not ended: a second one would be one too many."""


class StripeSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as Stripe has it."""

    id: str
    status: str
    created: datetime
    period_start: datetime
    period_end: datetime
    ends_at: datetime | None
    """When it will end by itself; None while it renews."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a customer's subscriptions come to."""

    subscription_id: str | None = None
    status: str = NONE
    period_end: datetime | None = None
    ends: bool = False
    """Whether it will end with the period."""
    pro_until: datetime | None = None


class Standings(msgspec.Struct, frozen=True, kw_only=True):
    """A customer as a comparison of all customers finds them at Stripe."""

    user_id: str | None
    """For whom a subscription of theirs was made here; None for those of others."""
    standing: Standing
    renewing: int
    """How many of their subscriptions will be paid again; more than one is one too many."""


class SubscriptionStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A user's plan as the wire shows it; `status` is Stripe's, or none."""

    plan: Plan
    status: str
    current_period_end: str | None
    cancel_at_period_end: bool
    usage: Usage


class CheckoutPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of Stripe's on which the pro plan is paid."""

    url: str
    session_id: str
    expires_at: str


class PortalPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of Stripe's on which cards, invoices and the subscription are looked after."""

    url: str


class KeySpent(PaymentProviderFailed):
    """Stripe keeps answering an idempotency key with the error that it met first."""


def already_subscribed(status: str) -> str:
    """Return what tells a user with a subscription what to do instead of subscribing again."""
    advice = {
        "past_due": "Its last payment failed: settle it in the portal, POST /subscription/portal.",
        "unpaid": "Its payments failed: settle them in the portal, POST /subscription/portal.",
        "incomplete": "Its first payment is in progress.",
        "paused": "It is paused: resume it in the portal, POST /subscription/portal.",
    }.get(status, "See GET /subscription/status.")
    return f"There is a subscription already. {advice}"


def return_urls(front_end: str, origin: str) -> tuple[str, str]:
    """Return where Stripe sends people back: who paid, and who did not.

    That is the front end's, or, where there is none, the API's own pages.
    """
    place = f"{(front_end or origin).rstrip('/')}/subscription"
    return f"{place}/success?session_id={{CHECKOUT_SESSION_ID}}", f"{place}/cancel"


def portal_return_url(front_end: str, origin: str) -> str:
    """Return where Stripe's billing portal sends people back."""
    return f"{(front_end or origin).rstrip('/')}/subscription/success"


def read_subscription(raw: Mapping[str, Any]) -> StripeSubscription:
    """Return Stripe's subscription object; its periods on the items, or on itself as once."""
    items = (raw.get("items") or {}).get("data") or []
    starts = [item["current_period_start"] for item in items if "current_period_start" in item]
    ends = [item["current_period_end"] for item in items if "current_period_end" in item]
    period_start = max(starts) if starts else raw["current_period_start"]
    period_end = max(ends) if ends else raw["current_period_end"]
    ends_at = raw.get("cancel_at")
    if ends_at is None and raw.get("cancel_at_period_end"):
        ends_at = period_end
    return StripeSubscription(
        id=raw["id"],
        status=raw["status"],
        created=_moment(raw["created"]),
        period_start=_moment(period_start),
        period_end=_moment(period_end),
        ends_at=None if ends_at is None else _moment(ends_at),
    )


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def pro_until(subscription: StripeSubscription, grace: timedelta) -> datetime | None:
    """Return until when a subscription gives the pro plan; None where it does not.

    While the last payment is overdue that is the grace period, counted from the period's start;
    a subscription that will end never gives more than its end. A state that Stripe may add one
    day gives nothing.
    """
    if subscription.status in PAID:
        until = subscription.period_end + RENEWAL_SLACK
    elif subscription.status == "past_due":
        until = subscription.period_start + grace
    else:
        return None
    return min(until, subscription.ends_at) if subscription.ends_at else until


def standing(subscriptions: Iterable[StripeSubscription], grace: timedelta) -> Standing:
    """Return what a customer's subscriptions come to: the one that gives pro longest decides."""

    def rank(one: StripeSubscription) -> tuple[bool, bool, datetime, datetime]:
        until = pro_until(one, grace)
        return until is not None, one.status in LIVE, until or one.created, one.created

    best = max(subscriptions, key=rank, default=None)
    if best is None:
        return Standing()
    live = best.status in LIVE
    return Standing(
        subscription_id=best.id,
        status=best.status,
        period_end=best.period_end if live else None,
        ends=live and best.ends_at is not None,
        pro_until=pro_until(best, grace),
    )


def renewing(subscriptions: Iterable[StripeSubscription]) -> int:
    """Return how many subscriptions will be paid again unless somebody ends them."""
    return sum(one.status in (*PAID, "past_due") and one.ends_at is None for one in subscriptions)


class Known(Protocol):
    """What is stored of a customer; `revision` counts the writes of what Stripe said."""

    @property
    def revision(self) -> float: ...
    @property
    def read_at(self) -> str | None: ...


def follow[K: Known](
    news_at: datetime,
    known: K,
    *,
    find: Callable[[], K],
    fetch: Callable[[], Standing],
    store: Callable[[Standing, datetime, int], bool],
    clock: Callable[[], datetime] = times.now,
    pause: Callable[[float], None] = time.sleep,
) -> tuple[K, Standing] | None:
    """Store what Stripe says now, and return what that replaced, and it.

    None where what is stored was asked after this news came.

    `store` writes only over the revision that was known before this fetch began. So of the
    fetches that are stored each began after the one before it was stored, and an older truth can
    never replace a newer one, whichever answer came first. Who loses that race looks again: what
    won was either asked after the news, and has it, or is asked for once more.
    Raises Unavailable when others kept winning.
    """
    for lost in range(TRIES):
        if lost:
            pause(random.uniform(0, min(LONGEST_PAUSE, 0.02 * 2**lost)))
            known = find()
        if known.read_at and times.parse(known.read_at) >= news_at + CLOCK_MARGIN:
            return None
        asked_at = clock()
        found = fetch()
        if store(found, asked_at, int(known.revision)):
            return known, found
    raise Unavailable()


def with_fresh_key[T](attempt: int, make: Callable[[int], T], spend: Callable[[int], int]) -> T:
    """Make something at Stripe under the idempotency key of an attempt, and return it.

    Where Stripe has spent that key on an error, the attempt is given up for good and the next one
    made. Raises KeySpent when that ends the same way.
    """
    try:
        return make(attempt)
    except KeySpent:
        return make(spend(attempt))
