"""The idempotency_keys table: the results of requests with an idempotency key, for a day."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.domain.ids import fingerprint
from geminichat.domain.plans import Plan
from geminichat.domain.sessions import Claims
from geminichat.errors import KeyInUse, KeyReused
from geminichat.tables import users
from geminichat.tables.table import Key, Table, Write, delete_partition, put

KEPT = timedelta(hours=24)


class IdempotencyKey(Table):
    """A user's key, stored in the transaction that stores the result of its request."""

    class Meta:
        setting = "IDEMPOTENCY_KEYS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    key = UnicodeAttribute(range_key=True)
    fingerprint = UnicodeAttribute()
    chatroom_id = UnicodeAttribute()
    seq = NumberAttribute()
    plan = UnicodeAttribute(null=True)
    expires_at = NumberAttribute()


class KeyedRequest(msgspec.Struct, frozen=True):
    """A repeatable request: its Idempotency-Key, and the fingerprint of its content."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str | None, *parts: str) -> "KeyedRequest | None":
        """Return the request with these parts, or None without a key."""
        return cls(key, fingerprint(*parts)) if key else None


class Use(msgspec.Struct, frozen=True):
    """The result of a key's request: a room, and a prompt's position, or 0 without a prompt."""

    chatroom_id: str
    seq: int
    plan: Plan
    """The plan under which the prompt was sent."""


def read(caller: Claims, request: KeyedRequest | None, now: datetime, *also: Key) -> list[Any]:
    """Return the earlier result of the request, or None, and the items with the keys `also`.

    One call reads everything. Raises KeyReused, and Unauthorized if the session has ended.
    """
    mine = [Key(IdempotencyKey, caller.user_id, request.key)] if request else []
    _, *items = users.read_current(caller, now, *mine, *also)
    if request is None:
        return [None, *items]
    found, *others = items
    if found is None or int(found.expires_at) <= now.timestamp():
        return [None, *others]
    if found.fingerprint != request.fingerprint:
        raise KeyReused()
    use = Use(found.chatroom_id, int(found.seq), Plan(found.plan or Plan.BASIC))
    return [use, *others]


def require_unused(caller: Claims, request: KeyedRequest | None, now: datetime) -> None:
    """Raise KeyInUse if a concurrent request with the same key has succeeded since `read`.

    `read` is not atomic: it may return the room as it was after that request, but not the key.
    """
    if request and read(caller, request, now)[0]:
        raise KeyInUse()


def put_key(
    user_id: str,
    request: KeyedRequest | None,
    chatroom_id: str,
    now: datetime,
    *,
    seq: int = 0,
    plan: Plan | None = None,
) -> list[Write]:
    """Return the write "idempotency key", which stores a request's key; no write without a key.

    Its condition fails if the key is in use. DynamoDB deletes expired items late, so an expired key
    may be replaced.
    """
    if request is None:
        return []
    item = IdempotencyKey(
        user_id,
        request.key,
        fingerprint=request.fingerprint,
        chatroom_id=chatroom_id,
        seq=seq,
        plan=plan,
        expires_at=int((now + KEPT).timestamp()),
    )
    unused = IdempotencyKey.key.does_not_exist() | (
        IdempotencyKey.expires_at <= int(now.timestamp())
    )
    return [put("idempotency key", item, unused)]


def delete_all(user_id: str) -> None:
    """Delete every key of a user."""
    delete_partition(IdempotencyKey, user_id)
