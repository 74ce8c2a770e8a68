"""Schedule cron(17 3 * * ? *): compare all paying users with Stripe, and fix differences.

`make reconcile` runs it by hand; the event `{"dryRun": true}` only reports what would be fixed.
Both sides are read page by page. Users are synced as in the webhook, so a run may overlap with
events and with another run.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from geminichat import metrics
from geminichat.clients import payments
from geminichat.domain import times
from geminichat.domain.billing import CustomerState
from geminichat.errors import AppError
from geminichat.operations import sync_subscription
from geminichat.runtime import clock, log
from geminichat.tables import subscriptions
from geminichat.tables.subscriptions import Subscription

MARGIN = 15.0
"""Seconds before the end of the invocation: from then on, no further user is synced."""
SHOWN = 1_000
"""The maximum number of changes that the result lists; the log has all of them."""


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Return the numbers of users compared, fixed, failed and paying twice, and the changes.

    Raises RuntimeError, which raises an alarm, if some users failed or were not reached. The next
    run compares all users again.
    """
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN
    dry_run = event.get("dryRun") is True

    counts, changes = _reconcile(until, dry_run=dry_run)

    log.info("reconciled", **counts, dry_run=dry_run)
    if counts["failed"] or counts["left"]:
        raise RuntimeError(f"Some users were not compared with Stripe: {counts}")
    return {**counts, "changes": changes[:SHOWN]}


def _reconcile(until: float, *, dry_run: bool) -> tuple[dict[str, int], list[str]]:
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
    """Yield the user id and customer id of each user whose table item and Stripe state differ."""
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
