"""The usage table: a user's prompts and tokens per UTC day and per burst window, and rooms.

Its conditions decide all limits; Redis only answers earlier.
"""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat.config import burst_limit, number
from geminichat.domain import times
from geminichat.domain.billing import REQUESTS_PER_HOUR, RequestLimit, SubscriptionStatus
from geminichat.domain.messages import NO_TOKENS, TokenUsage
from geminichat.domain.quota import Allowance, Burst
from geminichat.domain.users import Account
from geminichat.tables import subscriptions, users
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.table import (
    Key,
    Table,
    Write,
    batch_get,
    delete_partition,
    update,
    update_if,
)

KEPT = timedelta(days=90)
WINDOW_KEPT = timedelta(hours=1)

ROOMS = "rooms"
"""The range key of the item that counts a user's rooms, which takes the position of a day."""


class Usage(Table):
    """A user's counts of one day, the prompts of a burst window, or the number of rooms."""

    class Meta:
        setting = "USAGE_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    day = UnicodeAttribute(range_key=True)
    prompts = NumberAttribute(default=0)
    input_tokens = NumberAttribute(default=0)
    output_tokens = NumberAttribute(default=0)
    tokens = NumberAttribute(default=0)  # the sum of both, since a condition cannot add
    rooms = NumberAttribute(default=0)
    requests = NumberAttribute(default=0)
    expires_at = NumberAttribute(null=True)


def key_of(user_id: str, now: datetime) -> Key:
    """Return the key of a user's counts of a day."""
    return Key(Usage, user_id, times.day(now))


def read_allowance(user_id: str, now: datetime) -> Allowance:
    """Return the user's allowance as the tables have it, by one call."""
    subscription, usage, window = batch_get(
        subscriptions.key_of(user_id),
        Key(Usage, user_id, times.day(now)),
        Key(Usage, user_id, _window(burst_limit(), now)),
    )
    return allowance_of(user_id, subscription, usage, now, window)


def subscription_status(user_id: str, session_id: str, now: datetime) -> SubscriptionStatus:
    """Return the user's subscription and today's usage, by one call.

    Raises Unauthorized if the session has ended.
    """
    _, subscription, usage = users.current(
        user_id, session_id, now, subscriptions.key_of(user_id), key_of(user_id, now)
    )
    known = subscription or Subscription(user_id)
    return subscriptions.view(known, allowance_of(user_id, subscription, usage, now))


def account(user_id: str, session_id: str, now: datetime) -> Account:
    """Return the user as clients see it, by one call. Raises Unauthorized."""
    user, subscription, usage = users.current(
        user_id, session_id, now, subscriptions.key_of(user_id), key_of(user_id, now)
    )
    return users.view(user, allowance_of(user_id, subscription, usage, now))


def allowance_of(
    user_id: str,
    subscription: Subscription | None,
    usage: Usage | None,
    now: datetime,
    window: Usage | None = None,
) -> Allowance:
    """Return the allowance that these items give; a missing item counts as empty."""
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


def count_prompt(allowance: Allowance) -> list[Write]:
    """Return the writes "day" and "burst", which count one prompt if the limits allow it.

    Tokens are counted when a reply comes: prompts sent before they ran out are still answered.
    """
    user_id, now = allowance.user_id, allowance.now
    condition: Condition | None = None
    if allowance.limit is not None:
        condition = _is_below(Usage.prompts, allowance.limit)
    elif allowance.has_token_limit:
        condition = _is_below(Usage.tokens, allowance.token_limit)
    day = Usage(user_id, allowance.day)
    writes = [update("day", day, _add_prompt(now + KEPT), condition)]
    if allowance.has_burst_limit:
        expires = allowance.burst.window_end(now) + WINDOW_KEPT
        window = Usage(user_id, _window(allowance.burst, now))
        condition = _is_below(Usage.prompts, allowance.burst.prompts)
        writes.append(update("burst", window, _add_prompt(expires), condition))
    return writes


def count_room(user_id: str, limit: int) -> Write:
    """Return the write "rooms", which counts one more room if there are fewer than `limit`."""
    return update(
        "rooms", Usage(user_id, ROOMS), [Usage.rooms.add(1)], _is_below(Usage.rooms, limit)
    )


def discount_room(user_id: str) -> Write:
    """Return the write "rooms", which takes a deleted room off the count."""
    return update("rooms", Usage(user_id, ROOMS), [Usage.rooms.add(-1)])


def settle_prompt(
    user_id: str, tokens: TokenUsage, refund_on: str | None, now: datetime
) -> list[Write]:
    """Return the writes "usage" and "refund" of a prompt that ends.

    They add its tokens to today's, and take it off the count of the day `refund_on`, if there is
    one: a single write if that is today.
    """
    today = times.day(now)
    actions: list[Action] = []
    if tokens != NO_TOKENS:
        actions = [
            Usage.input_tokens.add(tokens.input_tokens),
            Usage.output_tokens.add(tokens.output_tokens),
            Usage.tokens.add(tokens.input_tokens + tokens.output_tokens),
            Usage.expires_at.set(int((now + KEPT).timestamp())),
        ]
    writes = []
    if refund_on == today:
        actions.append(Usage.prompts.add(-1))
    elif refund_on:
        writes.append(update("refund", Usage(user_id, refund_on), [Usage.prompts.add(-1)]))
    if actions:
        writes.append(update("usage", Usage(user_id, today), actions))
    return writes


def delete_all(user_id: str) -> None:
    """Delete every count of a user."""
    delete_partition(Usage, user_id)


def _add_prompt(expires: datetime) -> list[Action]:
    return [Usage.prompts.add(1), Usage.expires_at.set(int(expires.timestamp()))]


def count_stripe_request(user_id: str, now: datetime) -> RequestLimit:
    """Count a request that calls Stripe, and return what is left of the user's hourly limit.

    Raises TooManyRequests.
    """
    hour, since = divmod(int(now.timestamp()), 3600)
    window = Usage(user_id, f"stripe {hour}")
    actions: list[Action] = [Usage.requests.add(1), Usage.expires_at.set((hour + 2) * 3600)]
    if not update_if(window, actions, _is_below(Usage.requests, REQUESTS_PER_HOUR)):
        raise RequestLimit(left=0, seconds=3600 - since).refusal()
    return RequestLimit(left=REQUESTS_PER_HOUR - int(window.requests), seconds=3600 - since)


def _is_below(counter: NumberAttribute, limit: int) -> Condition:
    below: Condition = counter.does_not_exist() | (counter < limit)
    return below


def _window(burst: Burst, now: datetime) -> str:
    """Return a burst window's range key, which takes the position of a day."""
    return f"burst {times.text(burst.window_start(now))}"
