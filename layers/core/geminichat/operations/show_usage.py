"""Show a user's account or subscription together with today's usage.

One call reads the items; an account without a proven identity requires one more call.
"""

from datetime import datetime

from geminichat.domain.billing import SubscriptionStatus
from geminichat.domain.quota import Allowance
from geminichat.domain.sessions import Claims
from geminichat.domain.users import Account
from geminichat.tables import subscriptions, usage, users
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.usage import Usage
from geminichat.tables.users import User


def show_account(caller: Claims, now: datetime) -> Account:
    """Return the user as clients see it. Raises Unauthorized if the session has ended."""
    return account_of(*_read(caller, now), now)


def show_subscription(caller: Claims, now: datetime) -> SubscriptionStatus:
    """Return the user's subscription. Raises Unauthorized if the session has ended."""
    return subscription_of(*_read(caller, now), now)


def account_of(
    user: User, subscription: Subscription | None, counts: Usage | None, now: datetime
) -> Account:
    """Return a user as clients see it, from its items in the tables."""
    return view_account(user, compute_allowance(user, subscription, counts, now))


def view_account(user: User, allowance: Allowance) -> Account:
    """Return a user as clients see it, with this allowance."""
    return Account(
        id=user.user_id,
        email=user.email,
        email_verified=user.email_verified,
        mobile=user.mobile,
        mobile_verified=user.mobile_verified,
        plan=allowance.plan,
        usage=allowance.usage(),
        created_at=user.created_at,
    )


def subscription_of(
    user: User, subscription: Subscription | None, counts: Usage | None, now: datetime
) -> SubscriptionStatus:
    """Return a user's subscription as clients see it, from its items in the tables."""
    allowance = compute_allowance(user, subscription, counts, now)
    return subscriptions.view(subscription or Subscription(user.user_id), allowance)


def compute_allowance(
    user: User, subscription: Subscription | None, counts: Usage | None, now: datetime
) -> Allowance:
    """Return a user's allowance of today, from its items in the tables."""
    allowance = usage.allowance_of(user.user_id, subscription, counts, now)
    return usage.limit_unproven(user, allowance)


def _read(caller: Claims, now: datetime) -> tuple[User, Subscription | None, Usage | None]:
    keys = subscriptions.key_of(caller.user_id), usage.key_of(caller.user_id, now)
    user, subscription, counts = users.read_current(caller, now, *keys)
    return user, subscription, counts
