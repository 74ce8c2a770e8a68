"""The identities table: the user of each identity. The table's key makes identities unique."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition

from geminichat.domain import times
from geminichat.domain.identities import Identity
from geminichat.tables.table import Key, Table, Write, batch_get, delete, find_item, put

UNPROVEN_LIFETIME = timedelta(days=7)
"""The time after which an unproven identity is free again."""
WAY_BACK = timedelta(days=7)
"""The time for which a replaced identity can be restored."""


class IdentityRecord(Table):
    """The user of an identity: proven by a code, or unproven since its sign-up."""

    class Meta:
        setting = "IDENTITIES_TABLE"

    identity = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute()
    proven = BooleanAttribute(default=False)
    replaced = BooleanAttribute(default=False)
    """Whether another identity replaced this one, which can be restored until `expires_at`."""
    since = UnicodeAttribute()
    """When the identity was registered or first proven; a restored identity keeps this time."""
    expires_at = NumberAttribute(null=True)


def key_of(identity: Identity) -> Key:
    return Key(IdentityRecord, identity.key)


def find(identity: Identity, now: datetime) -> IdentityRecord | None:
    """Return the record of an identity, or None if it is free."""
    return drop_expired(find_item(IdentityRecord, identity.key), now)


def find_all(identities: Sequence[Identity], now: datetime) -> list[IdentityRecord | None]:
    """Return the record of each identity, or None for a free one."""
    items = batch_get(*map(key_of, identities)) if identities else []
    return [drop_expired(item, now) for item in items]


def drop_expired(record: IdentityRecord | None, now: datetime) -> IdentityRecord | None:
    """Return the record unless it has expired: DynamoDB deletes expired items late."""
    if record is None or record.expires_at is None or int(record.expires_at) > now.timestamp():
        return record
    return None


def register(identity: Identity, user_id: str, seen: IdentityRecord | None, now: datetime) -> Write:
    """Return the write "identity", which registers an unproven identity for a user.

    Its condition fails if the record has changed since it was `seen`.
    """
    record = IdentityRecord(
        identity.key,
        user_id=user_id,
        since=times.text(now),
        expires_at=int((now + UNPROVEN_LIFETIME).timestamp()),
    )
    return put("identity", record, _is_unchanged(seen, now))


def prove(identity: Identity, user_id: str, seen: IdentityRecord | None, now: datetime) -> Write:
    """Return the write "identity", which stores that the user has proven an identity.

    Its condition fails if the record has changed since it was `seen`.
    """
    was_mine = seen is not None and seen.proven and seen.user_id == user_id
    since = seen.since if seen and was_mine else times.text(now)
    record = IdentityRecord(identity.key, user_id=user_id, proven=True, since=since)
    return put("identity", record, _is_unchanged(seen, now))


def replace(record: IdentityRecord, now: datetime) -> Write:
    """Return the write "replaced identity", which marks a replaced identity as restorable."""
    user_id = record.user_id
    record = IdentityRecord(
        record.identity,
        user_id=user_id,
        proven=True,
        replaced=True,
        since=record.since,
        expires_at=int((now + WAY_BACK).timestamp()),
    )
    return put("replaced identity", record, IdentityRecord.user_id == user_id)


def remove(identity: Identity, user_id: str) -> Write:
    """Return the write "removed email" or "removed mobile", which frees the user's identity."""
    record = IdentityRecord(identity.key)
    mine = (IdentityRecord.user_id == user_id) | IdentityRecord.identity.does_not_exist()
    return delete(f"removed {identity.kind}", record, mine)


def _is_unchanged(seen: IdentityRecord | None, now: datetime) -> Condition:
    if seen is None:
        expired = IdentityRecord.expires_at <= int(now.timestamp())
        free: Condition = IdentityRecord.identity.does_not_exist() | expired
        return free
    same: Condition = (
        (IdentityRecord.user_id == seen.user_id)
        & (IdentityRecord.proven == seen.proven)
        & (IdentityRecord.replaced == seen.replaced)
    )
    return same
