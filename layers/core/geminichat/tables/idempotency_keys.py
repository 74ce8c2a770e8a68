"""The idempotency_keys table: the prompt that a client's Idempotency-Key stored, for a day."""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.domain.sessions import Claims
from geminichat.tables import users
from geminichat.tables.chatrooms import Turn
from geminichat.tables.table import Key, Table, Write, delete_partition, put

KEPT = timedelta(hours=24)


class IdempotencyKey(Table):
    """A user's key, stored in the transaction that stores its prompt."""

    class Meta:
        setting = "IDEMPOTENCY_KEYS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    key = UnicodeAttribute(range_key=True)
    fingerprint = UnicodeAttribute()
    chatroom_id = UnicodeAttribute()
    seq = NumberAttribute()
    expires_at = NumberAttribute()


def find(caller: Claims, key: str, now: datetime) -> IdempotencyKey | None:
    """Return the key's use, if it was used within a day.

    Raises Unauthorized if the session has ended.
    """
    mine = Key(IdempotencyKey, caller.user_id, key)
    _, found = users.current(caller.user_id, caller.session_id, now, mine)
    return found if found and int(found.expires_at) > now.timestamp() else None


def put_key(key: str, fingerprint: str, turn: Turn, now: datetime) -> Write:
    """Return the write "idempotency key", which requires that the key is not in use.

    DynamoDB deletes expired items late, so an expired one may be replaced.
    """
    item = IdempotencyKey(
        turn.user_id,
        key,
        fingerprint=fingerprint,
        chatroom_id=turn.chatroom_id,
        seq=turn.seq,
        expires_at=int((now + KEPT).timestamp()),
    )
    unused = IdempotencyKey.key.does_not_exist() | (
        IdempotencyKey.expires_at <= int(now.timestamp())
    )
    return put("idempotency key", item, unused)


def delete_all(user_id: str) -> None:
    """Delete every key of a user."""
    delete_partition(IdempotencyKey, user_id)
