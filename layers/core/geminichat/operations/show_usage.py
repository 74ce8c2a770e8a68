"""Show a user's account or subscription together with today's usage, by one call.

The usage of an account without a proof takes one more.
"""

from datetime import datetime
from typing import Any

from geminichat.domain.billing import SubscriptionStatus
from geminichat.domain.sessions import Claims
from geminichat.domain.users import Account
from geminichat.tables import subscriptions, usage, users
from geminichat.tables.subscriptions import Subscription


def show_account(caller: Claims, now: datetime) -> Account:
    """Return the user as clients see it. Raises Unauthorized if the session has ended."""
    user, subscription, counts = _read(caller, now)
    allowance = usage.allowance_of(caller.user_id, subscription, counts, now)
    return users.view(user, usage.limit_unproven(user, allowance))


def show_subscription(caller: Claims, now: datetime) -> SubscriptionStatus:
    """Return the user's subscription. Raises Unauthorized if the session has ended."""
    user, subscription, counts = _read(caller, now)
    allowance = usage.allowance_of(caller.user_id, subscription, counts, now)
    allowance = usage.limit_unproven(user, allowance)
    return subscriptions.view(subscription or Subscription(caller.user_id), allowance)


def _read(caller: Claims, now: datetime) -> list[Any]:
    keys = subscriptions.key_of(caller.user_id), usage.key_of(caller.user_id, now)
    return users.current(caller.user_id, caller.session_id, now, *keys)
