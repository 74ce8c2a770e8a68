"""The usage table: what a user sent, on a UTC day and in a moment; the last word on both limits."""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat.config import burst_limit, number
from geminichat.domain import times
from geminichat.domain.billing import SubscriptionStatus
from geminichat.domain.messages import TokenUsage
from geminichat.domain.quota import Allowance, Burst
from geminichat.tables import subscriptions
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.table import Key, Table, Write, batch_get, update

KEPT = timedelta(days=90)
WINDOW_KEPT = timedelta(hours=1)


class Usage(Table):
    """Prompts accepted and not given back, and tokens, of one user on one day.

    Beside the days stand the windows of the burst limit, which nothing is given back to.
    """

    class Meta:
        setting = "USAGE_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    day = UnicodeAttribute(range_key=True)
    prompts = NumberAttribute(default=0)
    input_tokens = NumberAttribute(default=0)
    output_tokens = NumberAttribute(default=0)
    tokens = NumberAttribute(default=0)  # the sum of both: a condition cannot add
    expires_at = NumberAttribute(null=True)


def allowance(user_id: str, now: datetime) -> Allowance:
    """Return the user's plan and the prompts counted by now, from the tables, in one call."""
    subscription, usage, window = batch_get(
        Key(Subscription, user_id),
        Key(Usage, user_id, times.day(now)),
        Key(Usage, user_id, _window(burst_limit(), now)),
    )
    return allowance_from(user_id, subscription, usage, now, window)


def subscription_status(user_id: str, now: datetime) -> SubscriptionStatus:
    """Return the user's subscription and what it leaves of today, from the tables, in one call."""
    subscription, usage = batch_get(
        subscriptions.key_of(user_id), Key(Usage, user_id, times.day(now))
    )
    known = subscription or Subscription(user_id)
    return subscriptions.view(known, allowance_from(user_id, subscription, usage, now))


def allowance_from(
    user_id: str,
    subscription: Subscription | None,
    usage: Usage | None,
    now: datetime,
    window: Usage | None = None,
) -> Allowance:
    """Return the allowance that these items, or their absence, make."""
    return Allowance(
        user_id=user_id,
        day=times.day(now),
        plan=subscriptions.plan_of(subscription, now),
        counted=int(usage.prompts) if usage else 0,
        now=now,
        burst=burst_limit(),
        sent=int(window.prompts) if window else 0,
        tokens=int(usage.tokens) if usage else 0,
        token_limit=number("PRO_DAILY_TOKENS"),
    )


def one_more(allowance: Allowance) -> list[Write]:
    """Return the writes "day" and "burst", which count one more prompt if their limits allow it.

    Tokens are counted as replies come, so what is under way when they run out is still answered.
    """
    user_id, now = allowance.user_id, allowance.now
    within: Condition | None = None
    if allowance.limit is not None:
        within = _below(Usage.prompts, allowance.limit)
    elif allowance.counts_tokens:
        within = _below(Usage.tokens, allowance.token_limit)
    updates = [update("day", Usage(user_id, allowance.day), _add_prompt(now + KEPT), within)]
    if allowance.counts_burst:
        ends = allowance.burst.ends(now)
        room = _below(Usage.prompts, allowance.burst.prompts)
        window = Usage(user_id, _window(allowance.burst, now))
        updates.append(update("burst", window, _add_prompt(ends + WINDOW_KEPT), room))
    return updates


def _add_prompt(expires: datetime) -> list[Action]:
    return [Usage.prompts.add(1), Usage.expires_at.set(int(expires.timestamp()))]


def _below(counter: NumberAttribute, limit: int) -> Condition:
    below: Condition = counter.does_not_exist() | (counter < limit)
    return below


def _window(burst: Burst, now: datetime) -> str:
    """Return what stands in the place of a day for a window of the burst limit."""
    return f"burst {times.text(burst.began(now))}"


def count_tokens(used: TokenUsage, now: datetime) -> list[Action]:
    """Return the update that counts a reply's tokens."""
    return [
        Usage.input_tokens.add(used.input_tokens),
        Usage.output_tokens.add(used.output_tokens),
        Usage.tokens.add(used.input_tokens + used.output_tokens),
        Usage.expires_at.set(int((now + KEPT).timestamp())),
    ]
