"""The codes table: the one-time codes that were sent to each identity within the last hour."""

from datetime import datetime
from typing import Any

import msgspec
from pynamodb.attributes import ListAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition

from geminichat.domain import codes, times
from geminichat.domain.codes import NewCode, Proof, SentCode
from geminichat.domain.identities import Identity
from geminichat.tables.table import Key, Table, Write, put


class Codes(Table):
    """The hashed codes of an identity, oldest first; `version` counts the changes of the item."""

    class Meta:
        setting = "CODES_TABLE"

    identity = UnicodeAttribute(hash_key=True)
    sent: ListAttribute[Any] = ListAttribute()
    version = NumberAttribute()
    expires_at = NumberAttribute()


class UsedCode(Table):
    """A used code; its key is `used:` and the code's challenge, never an identity's key."""

    class Meta:
        setting = "CODES_TABLE"

    identity = UnicodeAttribute(hash_key=True)
    expires_at = NumberAttribute()


def key_of(identity: Identity) -> Key:
    return Key(Codes, identity.key)


def list_recent(item: Codes | None, now: datetime) -> list[SentCode]:
    """Return the codes of an item that were sent within the last hour."""
    listed = [msgspec.convert(one, SentCode, strict=False) for one in item.sent] if item else []
    return codes.select_recent(listed, now)


def store(item: Codes | None, code: NewCode, digest: str, kid: str) -> Write:
    """Return the write "code to send", which adds a code to an identity's item.

    Its condition fails if another code was sent since `item` was read.
    """
    sent = SentCode(
        challenge=code.challenge,
        digest=digest,
        kid=kid,
        purpose=str(code.purpose),
        sent_at=times.millis(code.now),
        sender=code.sender,
    )
    kept = [*list_recent(item, code.now), sent]
    added = Codes(
        code.identity.key,
        sent=[msgspec.structs.asdict(one) for one in kept],
        version=int(item.version) + 1 if item else 1,
        expires_at=int((code.now + codes.HOUR).timestamp()) + 1,
    )
    unchanged: Condition = Codes.identity.does_not_exist()
    if item:
        unchanged = Codes.version == int(item.version)
    return put("code to send", added, unchanged)


def use(proof: Proof, now: datetime) -> Write:
    """Return the write "code", which uses a code up; its condition fails if it was used before."""
    used = UsedCode(
        f"used:{proof.challenge}", expires_at=int((now + codes.LIFETIME).timestamp()) + 60
    )
    return put("code", used, UsedCode.identity.does_not_exist())
