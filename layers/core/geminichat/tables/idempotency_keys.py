"""The idempotency_keys table: the prompt that a client's Idempotency-Key stored, for a day."""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.tables.chatrooms import Turn
from geminichat.tables.table import Table, Write, put

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


def find(user_id: str, key: str, now: datetime) -> IdempotencyKey | None:
    """Return the user's key if it was stored within a day, else None."""
    try:
        found = IdempotencyKey.get(user_id, key, consistent_read=True)
    except IdempotencyKey.DoesNotExist:
        return None
    return found if int(found.expires_at) > now.timestamp() else None


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
