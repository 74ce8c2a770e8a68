"""Schedule cron(17 3 * * ? *): compare every paying user with Stripe, and mend what lost news left.

Both sides are read page by page and only those looked at again that differ, each by the same steps
as the webhook: so it may run at any time, beside events, and twice. `make reconcile` runs it by
hand, and with `{"dryRun": true}` as its event it only says what it would mend.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from geminichat import metrics, startup  # noqa: F401
from geminichat.clients import payments
from geminichat.domain import times
from geminichat.domain.billing import Standing, Standings
from geminichat.errors import AppError
from geminichat.runtime import log
from geminichat.tables import subscriptions
from geminichat.tables.subscriptions import Subscription
from geminichat.upstash import prompt_limits

MARGIN = 15.0
"""Seconds at the end of the invocation in which nothing further is begun."""
SHOWN = 1_000
"""How many changes an answer names; the log has them all."""


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Return how many users were compared, mended, and pay twice, and what changed for whom.

    Raises RuntimeError if some failed: they are tried again the next night, and the error is what
    raises the alarm.
    """
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN
    dry_run = event.get("dryRun") is True
    counts = {"compared": 0, "mended": 0, "failed": 0, "left": 0, "twice": 0}
    changes: list[str] = []

    at_stripe = payments.standings()
    stored = {known.stripe_customer_id: known for known in subscriptions.with_customers()}
    counts["compared"] = len(stored.keys() | at_stripe.keys())
    for user_id, customer_id in _doubtful(stored, at_stripe):
        if time.monotonic() > until:
            counts["left"] += 1
            continue
        try:
            if change := _mend(times.now(), user_id, customer_id, dry_run=dry_run):
                changes.append(change)
        except AppError as error:
            log.warning("not compared", user_id=user_id, error=error.code)
            counts["failed"] += 1
    counts["mended"] = len(changes)
    counts["twice"] = sum(_pays_twice(known, at_stripe) for known in stored.values())

    log.info("reconciled", **counts, dry_run=dry_run)
    if counts["failed"] or counts["left"]:
        raise RuntimeError(f"Some users were not compared with Stripe: {counts}")
    return {**counts, "changes": changes[:SHOWN]}


def _doubtful(
    stored: Mapping[str, Subscription], at_stripe: Mapping[str, Standings]
) -> Iterator[tuple[str, str]]:
    """Give the users, with their customers, of whom both sides do not say the same."""
    for customer_id, known in stored.items():
        found = at_stripe.get(customer_id)
        if subscriptions.differs(known, found.standing if found else None):
            yield known.user_id, customer_id
    for customer_id, found in at_stripe.items():
        if found.user_id and customer_id not in stored:
            yield found.user_id, customer_id


def _mend(now: datetime, user_id: str, customer_id: str, *, dry_run: bool) -> str | None:
    """Store what Stripe says of one user; return what that changed, None for nothing."""
    known = subscriptions.find(user_id)
    if not known.stripe_customer_id and payments.owner_of(customer_id) != user_id:
        return None
    if known.stripe_customer_id not in (None, customer_id):
        log.error("user has a second customer", user_id=user_id)
        return None
    standing: Standing | None
    if dry_run:
        standing = payments.standing_of(customer_id)
    else:
        followed = subscriptions.follow(now, known, customer_id, payments.standing_of)
        known, standing = followed or (known, None)
    if standing is None or not subscriptions.differs(known, standing):
        return None
    change = f"{user_id}: {known.status}, {_pro(known.pro_until)} → {standing.status}, " + _pro(
        times.text(standing.pro_until) if standing.pro_until else None
    )
    if not dry_run:
        prompt_limits.forget(user_id, times.now())
        log.warning("plan mended", user_id=user_id, status=standing.status)
        metrics.emit(PlansMended=1)
    return change


def _pro(until: str | None) -> str:
    return f"pro until {until}" if until else "basic"


def _pays_twice(known: Subscription, at_stripe: Mapping[str, Standings]) -> bool:
    """Say whether a user has two subscriptions that renew: one was made past our API."""
    found = at_stripe.get(known.stripe_customer_id or "")
    twice = found is not None and found.renewing > 1
    if twice:
        log.error("user pays twice", user_id=known.user_id)
    return twice
