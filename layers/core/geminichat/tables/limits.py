"""The limits table: counts of what guards a secret or costs money; items expire by themselves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition

from geminichat.domain.limits import Limit, Pause, Window
from geminichat.tables.table import Key, Table, Write, check, delete, update


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


def with_counts[L: Limit](limits: Sequence[L], items: Sequence[Any], now: datetime) -> list[L]:
    """Return the limits with the counts of their items, which `key_of` named."""
    return [
        msgspec.structs.replace(limit, count=int(item.count_), at=int(item.at))
        if item is not None and int(item.expires_at) > now.timestamp()
        else limit
        for limit, item in zip(limits, items, strict=True)
    ]


def count_event(limit: Window, now: datetime) -> Write:
    """Return the write that counts one more event; its condition fails at the quota."""
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


def count_failure(limit: Pause, now: datetime) -> Write:
    """Return the write that counts one more failure in a row.

    Its condition fails if a count that had expired was started again in the meantime.
    """
    moment = int(now.timestamp())
    started = limit.count > 0
    actions = [
        Counter.count_.add(1) if started else Counter.count_.set(1),
        Counter.at.set(moment),
        Counter.expires_at.set(limit.expiry(limit.count + 1, now)),
    ]
    fresh = Counter.count_.does_not_exist() | (Counter.expires_at <= moment)
    return update(limit.name, Counter(limit.key), actions, None if started else fresh)


def require_unpaused(limit: Pause, now: datetime) -> Write:
    """Return the write that fails if a failure since the read has started a pause."""
    return check(limit.name, Counter(limit.key), _is_unpaused(limit, now))


def forget_unpaused(limit: Pause, now: datetime) -> Write:
    """Return the write that sets a count back to zero, unless a failure has started a pause."""
    return delete(limit.name, Counter(limit.key), _is_unpaused(limit, now))


def forget(limit: Limit) -> Write:
    """Return the write that sets a count back to zero."""
    return delete(limit.name, Counter(limit.key))


def _is_unpaused(limit: Pause, now: datetime) -> Condition:
    unpaused: Condition = (
        Counter.count_.does_not_exist()
        | (Counter.expires_at <= int(now.timestamp()))
        | (Counter.count_ <= max(limit.quota, limit.count))
    )
    return unpaused
