"""Schedule cron(17 3 * * ? *): compare every paying user with Stripe, and mend what lost news left.

Both sides are read page by page and only those looked at again that differ, each by the same steps
as the webhook: so it may run at any time, beside events, and twice.
"""

import time
from datetime import datetime
from functools import partial
from typing import Any

from geminichat import counters, metrics, payments
from geminichat.domain import billing, times
from geminichat.errors import AppError
from geminichat.log import logger
from geminichat.tables import subscriptions

MARGIN = 15.0
"""Seconds at the end of the invocation in which nothing further is begun."""


def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Return how many users were compared, and how many mended. Raises RuntimeError if some failed.

    They are tried again the next night; the error is what raises the alarm.
    """
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN
    counts = reconcile(times.now(), until)
    if counts["failed"] or counts["left"]:
        raise RuntimeError(f"Some users were not compared with Stripe: {counts}")
    return counts


def reconcile(now: datetime, until: float) -> dict[str, int]:
    """Do it as of `now`; begin nothing after `until` (monotonic clock)."""
    counts = {"compared": 0, "mended": 0, "failed": 0, "left": 0}
    at_stripe = payments.standings()
    stored = {known.stripe_customer_id: known for known in subscriptions.with_customers()}
    doubtful: list[tuple[str, str]] = []
    for customer_id, known in stored.items():
        _, standing = at_stripe.get(customer_id, (None, None))
        if subscriptions.differs(known, standing):
            doubtful.append((known.user_id, customer_id))
    for customer_id, (user_id, _) in at_stripe.items():
        if user_id and customer_id not in stored:
            doubtful.append((user_id, customer_id))
    counts["compared"] = len(stored.keys() | at_stripe.keys())

    for user_id, customer_id in doubtful:
        if time.monotonic() > until:
            counts["left"] += 1
        else:
            counts[_outcome(now, user_id, customer_id)] += 1
    logger.info("reconciled", extra=counts)
    return counts


def _outcome(now: datetime, user_id: str, customer_id: str) -> str:
    try:
        return "mended" if _mend(now, user_id, customer_id) else "compared"
    except AppError as error:
        logger.warning("not compared", extra={"user_id": user_id, "error": error.code})
        return "failed"


def _mend(now: datetime, user_id: str, customer_id: str) -> bool:
    """Store what Stripe says of one user, and say whether something else was stored."""
    known = subscriptions.find(user_id)
    if known.stripe_customer_id not in (None, customer_id):
        logger.error("user has a second customer", extra={"user_id": user_id})
        return False
    standing = billing.follow(
        now,
        known,
        find=partial(subscriptions.find, user_id),
        fetch=partial(payments.standing_of, customer_id),
        store=partial(subscriptions.store, user_id, customer_id),
    )
    if standing is None or not subscriptions.differs(known, standing):
        return False
    counters.forget(user_id, times.now())
    logger.warning("plan mended", extra={"user_id": user_id, "status": standing.status})
    metrics.emit(PlansMended=1)
    return True
