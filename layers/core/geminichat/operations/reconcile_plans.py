"""Compare all paying users with Stripe, and sync those who differ.

Both sides are read page by page, and users are synced in the same way as by the webhook, so a run
may overlap with events and with another run.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime

from geminichat import metrics
from geminichat.clients import payments
from geminichat.domain import times
from geminichat.domain.billing import CustomerState
from geminichat.errors import AppError
from geminichat.operations import sync_subscription
from geminichat.runtime import clock, log
from geminichat.tables import subscriptions
from geminichat.tables.subscriptions import Subscription


def reconcile(until: float, *, dry_run: bool) -> tuple[dict[str, int], list[str]]:
    """Return the numbers of users compared, fixed, failed, left and paying twice, and the changes.

    Users who are not reached before `until` (monotonic clock) are counted as left.
    """
    at_stripe = payments.fetch_all_states()
    stored = {known.stripe_customer_id: known for known in subscriptions.iterate_customers()}
    counts = {
        "compared": len(stored.keys() | at_stripe.keys()),
        "failed": 0,
        "left": 0,
        "twice": sum(_has_two_renewals(known, at_stripe) for known in stored.values()),
    }
    changes: list[str] = []
    may_be_other_account = stored.keys().isdisjoint(at_stripe)
    for user_id, customer_id in _list_differences(stored, at_stripe):
        if time.monotonic() > until:
            counts["left"] += 1
            continue
        try:
            if may_be_other_account:  # in another account, all plans seem to have ended
                payments.require_customer(customer_id)
            if change := _fix(clock.now(), user_id, customer_id, dry_run=dry_run):
                changes.append(change)
        except AppError as error:
            log.warning("not compared", user_id=user_id, error=error.code)
            counts["failed"] += 1
    return {**counts, "fixed": len(changes)}, changes


def _list_differences(
    stored: Mapping[str, Subscription], at_stripe: Mapping[str, CustomerState]
) -> Iterator[tuple[str, str]]:
    """Yield the user id and the customer id of each user for whom the two sides differ."""
    for customer_id, known in stored.items():
        found = at_stripe.get(customer_id)
        if not subscriptions.has_state(known, found.state if found else None):
            yield known.user_id, customer_id
    for customer_id, found in at_stripe.items():
        if found.user_id and customer_id not in stored:
            yield found.user_id, customer_id


def _fix(now: datetime, user_id: str, customer_id: str, *, dry_run: bool) -> str | None:
    """Store a user's current state; return a line that describes the change, or None."""
    known = subscriptions.load(user_id)
    if not known.stripe_customer_id and payments.find_owner(customer_id) != user_id:
        return None
    if not sync_subscription.can_have_customer(known, customer_id):
        return None
    if dry_run:
        before, state = known, payments.fetch_state(customer_id)
    elif synced := sync_subscription.sync(known, customer_id, now):
        before, state = synced
    else:
        return None
    if subscriptions.has_state(before, state):
        return None
    if not dry_run:
        log.warning("plan fixed", user_id=user_id, status=state.status)
        metrics.emit(PlansFixed=1)
    pro_until = times.text(state.pro_until) if state.pro_until else None
    return (
        f"{user_id}: {before.status}, {_describe_plan(before.pro_until)}"
        f" → {state.status}, {_describe_plan(pro_until)}"
    )


def _describe_plan(pro_until: str | None) -> str:
    return f"pro until {pro_until}" if pro_until else "basic"


def _has_two_renewals(known: Subscription, at_stripe: Mapping[str, CustomerState]) -> bool:
    """Return whether a user has two subscriptions that renew, and log an error if so."""
    found = at_stripe.get(known.stripe_customer_id or "")
    twice = found is not None and found.renewing > 1
    if twice:
        log.error("user pays twice", user_id=known.user_id)
    return twice
