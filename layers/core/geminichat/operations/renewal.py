"""Cancel or resume the renewal of a user's subscription."""

from collections.abc import Callable
from datetime import datetime

from geminichat.clients import payments
from geminichat.domain import billing
from geminichat.domain.billing import SubscriptionStatus
from geminichat.domain.sessions import Claims
from geminichat.errors import NoSubscription
from geminichat.operations import sync_subscription
from geminichat.operations.show_usage import show_subscription
from geminichat.tables import subscriptions, users


def cancel(caller: Claims, now: datetime) -> SubscriptionStatus:
    """Cancel the subscription at the period's end; return its status. Raises NoSubscription."""
    return _change(caller, now, payments.cancel_renewal)


def resume(caller: Claims, now: datetime) -> SubscriptionStatus:
    """Undo the cancellation, and return the subscription's status. Raises NoSubscription."""
    return _change(caller, now, payments.resume_renewal)


def _change(
    caller: Claims, now: datetime, change_at_stripe: Callable[[str], None]
) -> SubscriptionStatus:
    _, known = users.read_current(caller, now, subscriptions.key_of(caller.user_id))
    if known is None or known.stripe_customer_id is None:
        raise NoSubscription()

    change_at_stripe(known.stripe_customer_id)
    sync_subscription.sync(known, known.stripe_customer_id, now)

    status = show_subscription(caller, now)
    if status.status not in billing.ONGOING:
        raise NoSubscription()
    return status
