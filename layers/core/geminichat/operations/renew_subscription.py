"""Whether a subscription renews: what cancelling and resuming have in common."""

from collections.abc import Callable
from datetime import datetime

from geminichat.clients import payments
from geminichat.domain import billing, times
from geminichat.domain.billing import SubscriptionStatus
from geminichat.errors import NoSubscription
from geminichat.tables import subscriptions, usage, users
from geminichat.upstash import prompt_limits


def change(
    user_id: str, session_id: str, now: datetime, at_stripe: Callable[[str], None]
) -> SubscriptionStatus:
    """Have it changed at Stripe for the user's customer, and return the status that comes of it.

    Raises NoSubscription where there is no subscription that has not ended.
    """
    _, known = users.current(user_id, session_id, now, subscriptions.key_of(user_id))
    if known is None or known.stripe_customer_id is None:
        raise NoSubscription()

    at_stripe(known.stripe_customer_id)
    subscriptions.follow(times.now(), known, known.stripe_customer_id, payments.standing_of)
    prompt_limits.forget(user_id, now)

    status = usage.subscription_status(user_id, now)
    if status.status not in billing.LIVE:
        raise NoSubscription()
    return status
