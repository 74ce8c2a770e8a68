"""The subscriptions table: what Stripe said of a user last, and how long that makes them pro."""

from datetime import datetime

from pynamodb.attributes import UnicodeAttribute
from pynamodb.expressions.condition import Condition

from geminichat.config import setting
from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.tables.connection import Table


class Subscription(Table):
    """A user's subscription; without one, or after `pro_until`, the plan is basic."""

    class Meta:
        table_name = setting("SUBSCRIPTIONS_TABLE")

    user_id = UnicodeAttribute(hash_key=True)
    pro_until = UnicodeAttribute(null=True)


def plan_of(subscription: Subscription | None, now: datetime) -> Plan:
    """Return the plan that a subscription, or none, gives at `now`."""
    until = subscription.pro_until if subscription else None
    return Plan.PRO if until and until > times.text(now) else Plan.BASIC


def is_pro(now: datetime) -> Condition:
    """Return the condition, for use in a transaction, that a subscription gives pro at `now`."""
    return Subscription.pro_until > times.text(now)
