"""The limits table: counts of limited events, such as tries of a code. Its items expire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition

from geminichat.domain.limits import Limit, Pause, Window
from geminichat.tables.table import (
    ConditionsFailed,
    Key,
    Table,
    Write,
    check,
    delete,
    transact,
    update,
)


class Counter(Table):
    """The number of events in a window of time, or of failures in a row."""

    class Meta:
        setting = "LIMITS_TABLE"

    limit_key = UnicodeAttribute(hash_key=True)
    count_ = NumberAttribute(attr_name="count")
    at = NumberAttribute()
    expires_at = NumberAttribute()


def key_of(limit: Limit) -> Key:
    """Return the key of a limit's item."""
    return Key(Counter, limit.key)


def add_counts[L: Limit](limits: Sequence[L], items: Sequence[Any], now: datetime) -> list[L]:
    """Return the limits with the counts from their items, in the same order."""
    return [_add_count(limit, item, now) for limit, item in zip(limits, items, strict=True)]


def _add_count[L: Limit](limit: L, item: Counter | None, now: datetime) -> L:
    if item is None or int(item.expires_at) <= now.timestamp():
        return limit
    counted = msgspec.structs.replace(limit, count=int(item.count_), at=int(item.at))
    return limit if isinstance(counted, Pause) and counted.is_over(now) else counted


def count_event(limit: Window, now: datetime) -> Write:
    """Return the write that counts one more event; its condition fails if the quota is reached."""
    counter = Counter(limit.key)
    below = Counter.count_.does_not_exist() | (Counter.count_ < limit.quota)
    return update(
        limit.name,
        counter,
        [
            Counter.count_.add(1),
            Counter.at.set(int(now.timestamp())),
            Counter.expires_at.set(limit.expires_at),
        ],
        below,
    )


def count_failures(limits: Sequence[Pause], now: datetime, *more: Write) -> None:
    """Count one more failure in a row at each limit, together with further writes.

    Raises ConditionsFailed if parallel failures have started a pause of a limit, or if the
    condition of another write failed.
    """
    try:
        transact(*more, *(_count_failure(limit, now) for limit in limits))
    except ConditionsFailed as error:
        restarted = {limit.name for limit in limits if not limit.count and error.of(limit.name)}
        if not restarted:
            raise
        limits = [one.count_events(1) if one.name in restarted else one for one in limits]
        transact(*more, *(_count_failure(limit, now) for limit in limits))


def _count_failure(limit: Pause, now: datetime) -> Write:
    """Return the write that counts one more failure in a row.

    Its condition fails if a pause has begun since the limit was read. For a count of zero, it also
    fails if another failure was counted.
    """
    is_started = limit.count > 0
    actions = [
        Counter.count_.add(1) if is_started else Counter.count_.set(1),
        Counter.at.set(int(now.timestamp())),
        Counter.expires_at.set(limit.expiry(now)),
    ]
    condition = _is_unpaused(limit, now) if is_started else _is_at_zero(limit, now)
    return update(limit.name, Counter(limit.key), actions, condition)


def require_unpaused(limit: Pause, now: datetime) -> Write:
    """Return the write that fails if a pause has begun since the limit was read."""
    return check(limit.name, Counter(limit.key), _is_unpaused(limit, now))


def forget_unpaused(limit: Pause, now: datetime) -> Write:
    """Return the write that resets a count; it fails if a pause has begun since the last read."""
    return delete(limit.name, Counter(limit.key), _is_unpaused(limit, now))


def forget(limit: Limit) -> Write:
    """Return the write that resets a count."""
    return delete(limit.name, Counter(limit.key))


def _is_unpaused(limit: Pause, now: datetime) -> Condition:
    unpaused: Condition = Counter.count_ <= max(limit.quota, limit.count)
    unpaused |= _is_at_zero(limit, now)
    return unpaused


def _is_at_zero(limit: Pause, now: datetime) -> Condition:
    """Return the condition that nothing is counted, or that the count has expired."""
    moment = int(now.timestamp())
    at_zero: Condition = Counter.count_.does_not_exist() | (Counter.expires_at <= moment)
    if limit.is_single:
        at_zero |= (Counter.count_ > limit.quota) & (Counter.at <= moment - limit.longest)
    return at_zero
