"""Subscriptions: how Stripe's objects determine a user's plan."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from geminichat.domain.plans import Plan
from geminichat.domain.quota import Usage
from geminichat.errors import PaymentProviderFailed

RENEWAL_SLACK = timedelta(days=2)
"""The time for which a period counts as paid after its end: the renewal's event may be late."""

REQUESTS_PER_HOUR = 30
"""The most requests per user and hour that call Stripe; each makes up to five calls."""

NONE = "none"
"""The status of a user who never had a subscription."""
PAID = ("active", "trialing")
ONGOING = (*PAID, "past_due", "unpaid", "paused", "incomplete")
"""The statuses of a subscription that has not ended; a user may have only one such subscription."""


class StripeSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription at Stripe."""

    id: str
    status: str
    created: datetime
    period_start: datetime
    period_end: datetime
    ends_at: datetime | None
    """The time at which the subscription ends; None if it renews."""
    paid_until: datetime | None = None
    """The end of the last paid period if the collection of payments is paused, else None."""


class SubscriptionState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a user's subscription, derived from all of the customer's subscriptions."""

    subscription_id: str | None = None
    status: str = NONE
    period_end: datetime | None = None
    ends: bool = False
    """Whether the subscription ends with its period instead of renewing."""
    pro_until: datetime | None = None


class CustomerState(msgspec.Struct, frozen=True, kw_only=True):
    """A Stripe customer in the nightly comparison."""

    user_id: str | None
    """The user id in the metadata of a subscription; None if this stage created no subscription."""
    state: SubscriptionState
    renewing: int
    """The number of the customer's subscriptions that renew; at most one should."""


class SubscriptionStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A user's plan as the API shows it; `status` is Stripe's status, or "none".

    An operator may grant pro until a time, with or without a subscription.
    """

    plan: Plan
    status: str
    granted_until: str | None
    current_period_end: str | None
    cancel_at_period_end: bool
    usage: Usage


class CheckoutPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A Stripe Checkout page on which the user pays for the pro plan."""

    url: str
    session_id: str
    expires_at: str


class PortalPage(msgspec.Struct, frozen=True, kw_only=True):
    """Stripe's billing portal, in which the user manages cards, invoices and the subscription."""

    url: str


class KeyUsedUp(PaymentProviderFailed):
    """Stripe repeats the error that it first returned for this idempotency key."""


def explain_ongoing(status: str) -> str:
    """Return the message that refuses a second subscription."""
    advice = {
        "past_due": "Its last payment failed. Pay it in the portal: POST /subscription/portal.",
        "unpaid": "Its payments failed. Pay them in the portal: POST /subscription/portal.",
        "incomplete": "Its first payment is in progress.",
        "paused": "It is paused. Resume it in the portal: POST /subscription/portal.",
    }.get(status, "See GET /subscription/status.")
    return f"You already have a subscription. {advice}"


def build_return_urls(front_end: str, origin: str) -> tuple[str, str]:
    """Return the URLs to which Checkout redirects after a payment, and after a cancellation.

    They belong to the front end, or to the API's own pages if there is no front end.
    """
    base = f"{(front_end or origin).rstrip('/')}/subscription"
    return f"{base}/success?session_id={{CHECKOUT_SESSION_ID}}", f"{base}/cancel"


def build_portal_return_url(front_end: str, origin: str) -> str:
    """Return the URL to which Stripe's billing portal links back."""
    return f"{(front_end or origin).rstrip('/')}/subscription/success"


def parse_subscription(raw: Mapping[str, Any]) -> StripeSubscription:
    """Parse Stripe's subscription object, of the current or an older API version.

    In the current version the periods are on the items, in older versions on the subscription.
    """
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
        created=_parse_time(raw["created"]),
        period_start=_parse_time(period_start),
        period_end=_parse_time(period_end),
        ends_at=None if ends_at is None else _parse_time(ends_at),
        paid_until=_parse_paid_until(raw, _parse_time(period_start), _parse_time(period_end)),
    )


def _parse_paid_until(
    raw: Mapping[str, Any], period_start: datetime, period_end: datetime
) -> datetime | None:
    """Return the end of the last paid period if `pause_collection` is set.

    With `pause_collection`, the status stays "active" and periods continue, but their invoices are
    not paid. Only an expanded invoice shows whether the current period was paid.
    """
    if not raw.get("pause_collection"):
        return None
    invoice = raw.get("latest_invoice")
    is_paid = isinstance(invoice, Mapping) and invoice.get("status") == "paid"
    return period_end if is_paid else period_start


def _parse_time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def compute_pro_until(subscription: StripeSubscription, grace: timedelta) -> datetime | None:
    """Return the time until which a subscription grants the pro plan, or None if it never does.

    While a payment is overdue, this is `grace` after the period's start. While the collection of
    payments is paused, this is the end of the last paid period. The time is never after the end of
    the subscription. An unknown status grants no plan.
    """
    if subscription.status in PAID and subscription.paid_until:
        until = subscription.paid_until
    elif subscription.status in PAID:
        until = subscription.period_end + RENEWAL_SLACK
    elif subscription.status == "past_due":
        until = subscription.period_start + grace
    else:
        return None
    return min(until, subscription.ends_at) if subscription.ends_at else until


def combine(subscriptions: Iterable[StripeSubscription], grace: timedelta) -> SubscriptionState:
    """Return the state of the customer's subscription that grants the pro plan for longest."""

    def rank(one: StripeSubscription) -> tuple[bool, bool, datetime, datetime]:
        until = compute_pro_until(one, grace)
        return until is not None, one.status in ONGOING, until or one.created, one.created

    best = max(subscriptions, key=rank, default=None)
    if best is None:
        return SubscriptionState()
    ongoing = best.status in ONGOING
    return SubscriptionState(
        subscription_id=best.id,
        status=best.status,
        period_end=best.period_end if ongoing else None,
        ends=ongoing and best.ends_at is not None,
        pro_until=compute_pro_until(best, grace),
    )


def count_renewing(subscriptions: Iterable[StripeSubscription]) -> int:
    """Return the number of subscriptions that will be charged again unless they are cancelled."""
    return sum(
        one.status in (*PAID, "past_due") and one.ends_at is None and one.paid_until is None
        for one in subscriptions
    )


def create_once[T](
    attempt: int, create: Callable[[int], T], use_up_attempt: Callable[[int], int]
) -> T:
    """Create an object at Stripe under an attempt's idempotency key, and return the object.

    If Stripe has stored an error under that key, this attempt is used up: try once more with the
    key of the next attempt. Raises KeyUsedUp if Stripe has stored an error under the next key too.
    """
    try:
        return create(attempt)
    except KeyUsedUp:
        return create(use_up_attempt(attempt))
