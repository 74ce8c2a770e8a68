"""The usage table: prompts and spending per UTC day, per user and in total, and rooms per user.

The conditions of its writes decide about all limits; Redis only answers sooner.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat import config
from geminichat.domain import times
from geminichat.domain.billing import REQUESTS_PER_HOUR
from geminichat.domain.ids import fingerprint
from geminichat.domain.money import MILLION
from geminichat.domain.plans import Plan
from geminichat.domain.quota import DAILY_FORKS, UNPROVEN_PROMPTS, Allowance, Burst, UsageOfDay
from geminichat.errors import TooManyRequests
from geminichat.tables import subscriptions, users
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.table import (
    Key,
    Table,
    Write,
    batch_get,
    check,
    delete_partition,
    update,
    update_if,
)
from geminichat.tables.users import User

if TYPE_CHECKING:
    from geminichat.domain.messages import TokenUsage
    from geminichat.domain.spending import Reservation

KEPT = timedelta(days=90)
WINDOW_KEPT = timedelta(hours=1)

UNPROVEN = "unproven"
"""The hash key of the items that count the prompts of all unproven accounts."""

ROOMS = "rooms"
"""The range key of the item that counts a user's rooms."""


class Usage(Table):
    """Counts of a user's day, burst window or rooms, or of one shard of the stage's day.

    `committed` is the sum of `spent` and `reserved`: a condition of DynamoDB cannot add them.
    """

    class Meta:
        setting = "USAGE_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    day = UnicodeAttribute(range_key=True)
    prompts = NumberAttribute(default=0)
    attempts = NumberAttribute(default=0)
    in_flight = NumberAttribute(default=0)
    committed = NumberAttribute(default=0)
    reserved = NumberAttribute(default=0)
    input_tokens = NumberAttribute(default=0)
    output_tokens = NumberAttribute(default=0)
    tokens = NumberAttribute(default=0)  # input and output
    rooms = NumberAttribute(default=0)
    forks = NumberAttribute(default=0)
    requests = NumberAttribute(default=0)
    expires_at = NumberAttribute(null=True)


def key_of(user_id: str, now: datetime) -> Key:
    """Return the key of a user's counts of the day."""
    return Key(Usage, user_id, times.day(now))


def read_allowance(user_id: str, now: datetime) -> Allowance:
    """Read the user's allowance from the tables, with one call, or two for unproven users."""
    user, subscription, usage, window = batch_get(
        users.key_of(user_id),
        subscriptions.key_of(user_id),
        Key(Usage, user_id, times.day(now)),
        Key(Usage, user_id, _window(config.burst_limit(), now)),
    )
    allowance = allowance_of(user_id, subscription, usage, now, window)
    return limit_unproven(user, allowance) if user else allowance


def limit_unproven(user: User, allowance: Allowance) -> Allowance:
    """Return the allowance; add further limits if a basic user has proven no identity.

    One more call reads the counts for these limits.
    """
    if users.has_proven_identity(user) or allowance.plan is not Plan.BASIC:
        return allowance
    identity = user.email or user.mobile or user.user_id
    return apply_unproven_counts(
        allowance, identity, *batch_get(*list_unproven_keys(identity, allowance.now))
    )


def list_unproven_keys(identity: str, now: datetime) -> list[Key]:
    """Return the keys of two counts: of an unproven identity, and of all unproven users today.

    Prompts are counted per identity and not per user, so that another sign-up with the same
    identity gives no further prompts.
    """
    return [
        Key(Usage, f"unproven {fingerprint(identity)}", "all"),
        Key(Usage, UNPROVEN, times.day(now)),
    ]


def apply_unproven_counts(
    allowance: Allowance, identity: str, own: Usage | None, stage: Usage | None
) -> Allowance:
    """Return the allowance with the limits of a user who has proven no identity.

    `own` and `stage` are the items with the keys of `list_unproven_keys`.
    """
    used = int(own.prompts) if own else 0
    left_to_all = config.number("UNPROVEN_DAILY_PROMPTS") - (int(stage.prompts) if stage else 0)
    return replace(
        allowance,
        unproven=fingerprint(identity),
        unproven_used=used,
        unproven_left=max(0, min(UNPROVEN_PROMPTS - used, left_to_all)),
    )


def allowance_of(
    user_id: str,
    subscription: Subscription | None,
    usage: Usage | None,
    now: datetime,
    window: Usage | None = None,
) -> Allowance:
    """Return the allowance from these items; a missing item counts as empty."""
    today = usage or Usage(user_id)
    return Allowance(
        user_id=user_id,
        day=times.day(now),
        plan=subscriptions.plan_of(subscription, now),
        counted=int(today.prompts),
        now=now,
        burst=config.burst_limit(),
        plan_limits=config.plan_limits(),
        sent=int(window.prompts) if window else 0,
        attempts=int(today.attempts),
        in_flight=int(today.in_flight),
        input_tokens=int(today.input_tokens),
        output_tokens=int(today.output_tokens),
        token_limit=config.number("PRO_DAILY_TOKENS"),
        committed=int(today.committed),
        reserved=int(today.reserved),
    )


def count_prompt(allowance: Allowance, reservation: "Reservation") -> list[Write]:
    """Return the writes "day", "burst" and "stage", which count one prompt if the limits allow it.

    The writes reserve the highest possible cost of the prompt. Tokens are counted with the reply,
    so prompts that were sent before the tokens were used up are still answered.
    """
    user_id, now, limits = allowance.user_id, allowance.now, allowance.limits
    condition = (
        _is_below(Usage.attempts, limits.attempts)
        & _is_below(Usage.in_flight, limits.in_flight)
        & _is_within_cap(reservation.amount, limits.spending)
    )
    if allowance.limit is not None:
        condition &= _is_below(Usage.prompts, allowance.limit)
    if allowance.has_token_limit:
        condition &= _is_below(Usage.tokens, allowance.token_limit)
    actions = [
        Usage.prompts.add(1),
        Usage.attempts.add(1),
        Usage.in_flight.add(1),
        *_reserve(reservation.amount),
        _expire(now + KEPT),
    ]
    writes = [update("day", Usage(user_id, reservation.day), actions, condition)]
    if allowance.has_burst_limit:
        expires = allowance.burst.window_end(now) + WINDOW_KEPT
        window = Usage(user_id, _window(allowance.burst, now))
        below = _is_below(Usage.prompts, allowance.burst.prompts)
        writes.append(update("burst", window, [Usage.prompts.add(1), _expire(expires)], below))
    writes.append(_reserve_of_stage(reservation, reservation.amount))
    if allowance.unproven:
        writes += _count_unproven(allowance)
    return writes


def _count_unproven(allowance: Allowance) -> list[Write]:
    """Return the writes "unproven" and "unproven stage", which count an unproven account's prompt.

    The number of all such prompts in flight is limited, so that workers remain free for others.
    """
    actions = [Usage.prompts.add(1), _expire(allowance.now + KEPT)]
    identity = Usage(f"unproven {allowance.unproven}", "all")
    is_below = _is_below(Usage.prompts, config.number("UNPROVEN_DAILY_PROMPTS"))
    is_below &= _is_below(Usage.in_flight, config.number("UNPROVEN_IN_FLIGHT"))
    in_flight = [*actions, Usage.in_flight.add(1)]
    return [
        update("unproven", identity, actions, _is_below(Usage.prompts, UNPROVEN_PROMPTS)),
        update("unproven stage", Usage(UNPROVEN, allowance.day), in_flight, is_below),
    ]


def read_stage_share(now: datetime) -> int:
    """Return the percentage of today's stage cap that is spent or reserved, by one call."""
    cap = config.stage_cap()
    shards = [Key(Usage, f"stage {shard}", times.day(now)) for shard in range(cap.shards)]
    committed = sum(int(usage.committed) for usage in batch_get(*shards) if usage)
    return round(100 * committed / cap.amount)


def count_room(user_id: str, limit: int) -> Write:
    """Return the write "rooms", which counts one more room if there are fewer than `limit`."""
    return update(
        "rooms", Usage(user_id, ROOMS), [Usage.rooms.add(1)], _is_below(Usage.rooms, limit)
    )


def check_rooms(user_id: str, limit: int) -> Write:
    """Return the write "rooms", which checks that there are fewer than `limit` rooms."""
    return check("rooms", Usage(user_id, ROOMS), _is_below(Usage.rooms, limit))


def count_fork(user_id: str, now: datetime) -> Write:
    """Return the write "forks", which counts one more fork if the day's limit allows it."""
    return update(
        "forks",
        Usage(user_id, times.day(now)),
        [Usage.forks.add(1), _expire(now + KEPT)],
        _is_below(Usage.forks, DAILY_FORKS),
    )


def uncount_room(user_id: str) -> Write:
    """Return the write "rooms", which subtracts a deleted room from the count."""
    return update("rooms", Usage(user_id, ROOMS), [Usage.rooms.add(-1)])


def reserve_more(user_id: str, reservation: "Reservation", amount: int) -> list[Write]:
    """Return the writes "day" and "stage", which reserve more for a prompt if the caps allow it."""
    day = Usage(user_id, reservation.day)
    return [
        update("day", day, _reserve(amount), _is_within_cap(amount, reservation.cap)),
        _reserve_of_stage(reservation, amount),
    ]


def settle_prompt(
    user_id: str, reservation: "Reservation", tokens: "TokenUsage", *, refunded: bool
) -> list[Write]:
    """Return the writes "day", "stage" and, if unproven, "unproven stage", which settle a prompt.

    The writes replace the reservation by the cost of the tokens, and the prompt is no longer in
    flight. A refunded prompt is subtracted from the day's prompts, and from those of its unproven
    identity (the write "unproven"), but never from the attempts. The condition of "day" fails if
    the user's counts were deleted with the user.
    """
    settled = [
        Usage.committed.add(reservation.cost(tokens) - reservation.amount),
        Usage.reserved.add(-reservation.amount),
        _expire_after(reservation.day),
    ]
    actions = [
        *settled,
        Usage.input_tokens.add(tokens.input_tokens),
        Usage.output_tokens.add(tokens.output_tokens),
        Usage.tokens.add(tokens.input_tokens + tokens.output_tokens),
    ]
    if reservation.amount:
        actions.append(Usage.in_flight.add(-1))
    if refunded:
        actions.append(Usage.prompts.add(-1))
    reserved_in = Usage.user_id.exists() if reservation.amount else None
    writes = [
        update("day", Usage(user_id, reservation.day), actions, reserved_in),
        update("stage", Usage(_stage(reservation), reservation.day), settled),
    ]
    if reservation.unproven:
        strangers = Usage(UNPROVEN, reservation.day)
        writes.append(update("unproven stage", strangers, [Usage.in_flight.add(-1)]))
    if reservation.unproven and refunded:
        identity = Usage(f"unproven {reservation.unproven}", "all")
        writes.append(update("unproven", identity, [Usage.prompts.add(-1)]))
    return writes


def read_counted(user_id: str, now: datetime) -> tuple[int, int]:
    """Return the number of prompts that are counted today, and how many of them are in flight."""
    [today] = batch_get(key_of(user_id, now))
    return (int(today.prompts), int(today.in_flight)) if today else (0, 0)


def give_back(user_id: str, prompts: int, in_flight: int, now: datetime) -> Write:
    """Return the write "day", which subtracts prompts from today's prompts and attempts.

    A prompt in flight may still be refunded, so only finished prompts can be given back. The
    condition fails if fewer than `prompts` are finished.
    """
    actions = [Usage.prompts.add(-prompts), Usage.attempts.add(-prompts)]
    enough = (Usage.prompts >= prompts + in_flight) & (Usage.in_flight <= in_flight)
    return update("day", Usage(user_id, times.day(now)), actions, enough)


def charge_title(user_id: str, price: "Reservation") -> list[Write]:
    """Return the writes "day" and "stage", which spend the price of a title if the caps allow it.

    A title does not count as a prompt. `correct_title` replaces this price by the real cost.
    """
    spend = [Usage.committed.add(price.amount), _expire_after(price.day)]
    stage_cap = config.stage_cap().per_shard
    return [
        update("day", Usage(user_id, price.day), spend, _is_within_cap(price.amount, price.cap)),
        update(
            "stage", Usage(_stage(price), price.day), spend, _is_within_cap(price.amount, stage_cap)
        ),
    ]


def correct_title(user_id: str, price: "Reservation", tokens: "TokenUsage") -> list[Write]:
    """Return the writes "day" and "stage", which replace a title's price by its tokens' cost.

    The condition of "day" fails if the user's counts were deleted.
    """
    correct = [Usage.committed.add(price.cost(tokens) - price.amount)]
    return [
        update("day", Usage(user_id, price.day), correct, Usage.user_id.exists()),
        update("stage", Usage(_stage(price), price.day), correct),
    ]


def read_days(user_id: str) -> Iterator[UsageOfDay]:
    """Yield the user's counts of each stored day, the oldest first."""
    for day in Usage.query(user_id, Usage.day < "a", consistent_read=True):  # only days
        yield UsageOfDay(
            day=day.day,
            prompts=int(day.prompts),
            attempts=int(day.attempts),
            input_tokens=int(day.input_tokens),
            output_tokens=int(day.output_tokens),
            spent_usd=int(day.committed - day.reserved) / MILLION,
        )


def delete_all(user_id: str) -> None:
    """Delete every count of a user."""
    delete_partition(Usage, user_id)


def count_stripe_request(user_id: str, now: datetime) -> Mapping[str, str]:
    """Count a request that calls Stripe; return the headers of the user's hourly limit.

    Raises TooManyRequests.
    """
    from geminichat.domain import limits  # most functions do not need it

    quota = REQUESTS_PER_HOUR
    limit = limits.window("stripe", user_id, quota, limits.HOUR, now, policy="stripe")
    hour = Usage(user_id, f"stripe {int(now.timestamp()) // limit.span}")
    actions: list[Action] = [Usage.requests.add(1), Usage.expires_at.set(limit.expires_at)]
    if update_if(hour, actions, _is_below(Usage.requests, quota)):
        return limits.headers([limit.count_events(int(hour.requests))], now)
    raise TooManyRequests(
        f"At most {quota} requests per hour are accepted for subscriptions. "
        f"Try again in {limit.seconds(now)} s.",
        retry_after=limit.seconds(now),
        headers=limits.headers([limit.count_events(quota)], now),
    )


def _reserve_of_stage(reservation: "Reservation", amount: int) -> Write:
    cap = config.stage_cap().per_shard
    return update(
        "stage",
        Usage(_stage(reservation), reservation.day),
        [*_reserve(amount), _expire_after(reservation.day)],
        _is_within_cap(amount, cap),
    )


def _stage(reservation: "Reservation") -> str:
    """Return the hash key of a shard of the stage's counts, which is never a user id."""
    return f"stage {reservation.shard}"


def _reserve(amount: int) -> list[Action]:
    return [Usage.committed.add(amount), Usage.reserved.add(amount)]


def _expire_after(day: str) -> Action:
    return _expire(times.parse(f"{day}T00:00:00Z") + KEPT)


def _expire(expires: datetime) -> Action:
    return Usage.expires_at.set(int(expires.timestamp()))


def _is_below(counter: NumberAttribute, limit: int) -> Condition:
    below: Condition = counter.does_not_exist() | (counter < limit)
    return below


def _is_within_cap(amount: int, cap: int) -> Condition:
    within: Condition = Usage.committed <= cap - amount
    return within if amount > cap else within | Usage.committed.does_not_exist()


def _window(burst: Burst, now: datetime) -> str:
    """Return the range key of a burst window's item."""
    return f"burst {times.text(burst.window_start(now))}"
