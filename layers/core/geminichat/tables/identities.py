"""The identities table: whose an email address or a mobile number is; what makes it unique."""

from datetime import datetime

from pynamodb.attributes import BooleanAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition

from geminichat.domain import times
from geminichat.domain.identities import Identity
from geminichat.tables.table import Table


class Claim(Table):
    """That an identity is a user's: proven by its code, or merely said."""

    class Meta:
        setting = "IDENTITIES_TABLE"

    identity = UnicodeAttribute(hash_key=True)
    user_id = UnicodeAttribute()
    verified = BooleanAttribute(default=False)
    since = UnicodeAttribute()


def find(identity: Identity) -> Claim | None:
    """Return who claims the identity, or None."""
    try:
        return Claim.get(identity.key, consistent_read=True)
    except Claim.DoesNotExist:
        return None


def unchanged(seen: Claim | None) -> Condition:
    """Return the condition that the identity is claimed as it was seen, or still by nobody."""
    if seen is None:
        return Claim.identity.does_not_exist()
    same: Condition = (Claim.user_id == seen.user_id) & (Claim.verified == seen.verified)
    return same


def claim(identity: Identity, user_id: str, now: datetime, *, verified: bool) -> Claim:
    """Return the claim to store: that the identity is the user's."""
    return Claim(identity.key, user_id=user_id, verified=verified, since=times.text(now))
