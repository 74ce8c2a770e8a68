"""The usage table: what a user sent on a UTC day; the last word on the daily limit."""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat.config import number, setting
from geminichat.domain import times
from geminichat.domain.billing import SubscriptionStatus
from geminichat.domain.messages import TokenUsage
from geminichat.domain.quota import Allowance
from geminichat.tables import subscriptions
from geminichat.tables.connection import Table, get_together
from geminichat.tables.subscriptions import Subscription

KEPT = timedelta(days=90)


class Usage(Table):
    """Prompts accepted and not given back, and tokens, of one user on one day."""

    class Meta:
        table_name = setting("USAGE_TABLE")

    user_id = UnicodeAttribute(hash_key=True)
    day = UnicodeAttribute(range_key=True)
    prompts = NumberAttribute(default=0)
    input_tokens = NumberAttribute(default=0)
    output_tokens = NumberAttribute(default=0)
    tokens = NumberAttribute(default=0)  # the sum of both: a condition cannot add
    expires_at = NumberAttribute(null=True)


def allowance(user_id: str, now: datetime) -> Allowance:
    """Return the user's plan and the prompts counted today, from the tables, in one call."""
    subscription, usage = get_together(
        (Subscription, user_id, None), (Usage, user_id, times.day(now))
    )
    return allowance_from(user_id, subscription, usage, now)


def subscription_status(user_id: str, now: datetime) -> SubscriptionStatus:
    """Return the user's subscription and what it leaves of today, from the tables, in one call."""
    subscription, usage = get_together(subscriptions.of(user_id), (Usage, user_id, times.day(now)))
    known = subscription or Subscription(user_id)
    return subscriptions.view(known, allowance_from(user_id, subscription, usage, now))


def allowance_from(
    user_id: str, subscription: Subscription | None, usage: Usage | None, now: datetime
) -> Allowance:
    """Return the allowance that these items, or their absence, make."""
    return Allowance(
        user_id=user_id,
        day=times.day(now),
        plan=subscriptions.plan_of(subscription, now),
        counted=int(usage.prompts) if usage else 0,
        now=now,
        tokens=int(usage.tokens) if usage else 0,
        token_limit=number("PRO_DAILY_TOKENS"),
    )


def count_prompt(now: datetime) -> list[Action]:
    """Return the update that counts one more prompt."""
    return [
        Usage.prompts.add(1),
        Usage.expires_at.set(int((now + KEPT).timestamp())),
    ]


def count_tokens(used: TokenUsage, now: datetime) -> list[Action]:
    """Return the update that counts a reply's tokens."""
    return [
        Usage.input_tokens.add(used.input_tokens),
        Usage.output_tokens.add(used.output_tokens),
        Usage.tokens.add(used.input_tokens + used.output_tokens),
        Usage.expires_at.set(int((now + KEPT).timestamp())),
    ]


def has_room(allowance: Allowance) -> Condition | None:
    """Return the condition that the day has room for one more prompt; None for no limit.

    Tokens are counted as replies come, so what is under way when they run out is still answered.
    """
    within: Condition | None = None
    if allowance.limit is not None:
        within = Usage.prompts.does_not_exist() | (Usage.prompts < allowance.limit)
    elif allowance.counts_tokens:
        within = Usage.tokens.does_not_exist() | (Usage.tokens < allowance.token_limit)
    return within
