"""The audit table: the acts of operators. Items are put once and never changed.

No role may update or delete an item, and no item holds an identity, so the deletion of an account
does not change this table.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

import msgspec
from pynamodb.attributes import UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from geminichat.domain import times
from geminichat.domain.acts import Act, Redrive
from geminichat.tables.table import Key, Table, Write, put


class ByDay(GlobalSecondaryIndex["Audit"]):
    """All acts of a UTC day, oldest first, without the items for single prompts of an act."""

    class Meta:
        index_name = "by-day"
        projection = AllProjection()

    day = UnicodeAttribute(hash_key=True)
    at = UnicodeAttribute(range_key=True)


class Audit(Table):
    """An act: its user, its reason, and the IAM identity of its operator."""

    class Meta:
        setting = "AUDIT_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    act_id = UnicodeAttribute(range_key=True)
    day = UnicodeAttribute(null=True)
    at = UnicodeAttribute()
    act = UnicodeAttribute()
    operator = UnicodeAttribute()
    reason = UnicodeAttribute()
    details = UnicodeAttribute()  # JSON

    by_day = ByDay()


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An act as `make admin` shows it."""

    at: str
    act: str
    user_id: str
    operator: str
    reason: str
    details: dict[str, Any]


def key_of(act: Act) -> Key:
    """Return the key of the item that records an act."""
    return Key(Audit, act.about, act.id)


def put_act(act: Act, operator: str, now: datetime) -> Write:
    """Return the write "audit", which records an act; the write fails if the act is recorded."""
    return _put(key_of(act), act, operator, act.details(), now, day=times.day(now))


def put_redriven_prompt(
    act: Redrive, operator: str, user_id: str, prompt_id: str, failure: str, now: datetime
) -> Write:
    """Return the write "audit", which records the redrive of a prompt as an act on the user.

    The write fails if this act has redriven the prompt before.
    """
    details = {"prompt": prompt_id, "failure": failure}
    return _put(Key(Audit, user_id, f"{act.id} {prompt_id}"), act, operator, details, now)


def _put(
    key: Key,
    act: Act,
    operator: str,
    details: Mapping[str, Any],
    now: datetime,
    day: str | None = None,
) -> Write:
    item = Audit(
        key.hash_key,
        key.range_key,
        day=day,
        at=times.text(now),
        act=act.kind,
        operator=operator,
        reason=act.reason,
        details=msgspec.json.encode(details).decode(),
    )
    return put("audit", item, Audit.act_id.does_not_exist())


def list_of_user(user_id: str) -> list[Entry]:
    """Return every act that concerns a user, the oldest first."""
    found = map(_view, Audit.query(user_id, consistent_read=True))
    return sorted(found, key=lambda entry: entry.at)


def list_of_day(day: date) -> Iterator[Entry]:
    """Yield every act of a UTC day, the oldest first; eventually consistent."""
    yield from map(_view, Audit.by_day.query(day.isoformat()))


def _view(item: Audit) -> Entry:
    return Entry(
        at=item.at,
        act=item.act,
        user_id=item.user_id,
        operator=item.operator,
        reason=item.reason,
        details=msgspec.json.decode(item.details),
    )
