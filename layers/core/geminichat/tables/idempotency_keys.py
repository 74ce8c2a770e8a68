"""The idempotency_keys table: which prompt a client's Idempotency-Key stands for, for a day."""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition

from geminichat.tables.table import Table

KEPT = timedelta(hours=24)


class IdempotencyKey(Table):
    """One use of a key by a user, written in the transaction that stores its prompt."""

    class Meta:
        setting = "IDEMPOTENCY_KEYS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    key = UnicodeAttribute(range_key=True)
    fingerprint = UnicodeAttribute()
    chatroom_id = UnicodeAttribute()
    seq = NumberAttribute()
    expires_at = NumberAttribute()


def find(user_id: str, key: str, now: datetime) -> IdempotencyKey | None:
    """Return the key's use, if it was used within a day."""
    try:
        found = IdempotencyKey.get(user_id, key, consistent_read=True)
    except IdempotencyKey.DoesNotExist:
        return None
    return found if int(found.expires_at) > now.timestamp() else None


def use(
    user_id: str, key: str, fingerprint: str, chatroom_id: str, seq: int, now: datetime
) -> IdempotencyKey:
    """Return the item that marks the key as used, for use in a transaction."""
    return IdempotencyKey(
        user_id,
        key,
        fingerprint=fingerprint,
        chatroom_id=chatroom_id,
        seq=seq,
        expires_at=int((now + KEPT).timestamp()),
    )


def unused(now: datetime) -> Condition:
    """Return the condition that a key is not in use: DynamoDB removes expired items late."""
    free: Condition = IdempotencyKey.key.does_not_exist() | (
        IdempotencyKey.expires_at <= int(now.timestamp())
    )
    return free
