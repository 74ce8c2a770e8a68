"""Cancel or resume the renewal of a user's subscription."""

from collections.abc import Callable
from datetime import datetime

from geminichat.domain import billing
from geminichat.domain.billing import SubscriptionStatus
from geminichat.domain.sessions import Claims
from geminichat.errors import NoSubscription
from geminichat.operations import sync_subscription
from geminichat.operations.show_usage import show_subscription
from geminichat.tables import subscriptions, users


def change(
    caller: Claims, change_at_stripe: Callable[[str], None], now: datetime
) -> SubscriptionStatus:
    """Change the user's subscription at Stripe, and return its status. Raises NoSubscription."""
    _, known = users.read_current(caller, now, subscriptions.key_of(caller.user_id))
    if known is None or known.stripe_customer_id is None:
        raise NoSubscription()

    change_at_stripe(known.stripe_customer_id)
    sync_subscription.sync(known, known.stripe_customer_id, now)

    status = show_subscription(caller, now)
    if status.status not in billing.ONGOING:
        raise NoSubscription()
    return status
