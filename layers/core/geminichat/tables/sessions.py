"""The sessions table: the hashes of each session's refresh tokens.

The user's item tells whether a session has ended: see `tables.users`.
"""

from datetime import UTC, datetime

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.domain import sessions, times
from geminichat.domain.sessions import RefreshToken
from geminichat.tables.table import Key, Table, Write, delete_partition, put, update_if


class Session(Table):
    """A session: the current refresh token, and the spent one that it replaced."""

    class Meta:
        setting = "SESSIONS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    session_id = UnicodeAttribute(range_key=True)
    family_hash = UnicodeAttribute()
    secret_hash = UnicodeAttribute()
    spent_hash = UnicodeAttribute(null=True)
    spent_at = NumberAttribute(null=True)
    """Milliseconds since 1970."""
    kid = UnicodeAttribute(null=True)
    """The signing key from which the current secret was derived."""
    created_at = UnicodeAttribute()
    expires_at = NumberAttribute()


def key_of(user_id: str, session_id: str) -> Key:
    return Key(Session, user_id, session_id)


def begin(refresh: RefreshToken, now: datetime) -> Write:
    """Return the write "session", which stores a session with its first refresh token."""
    session = Session(
        refresh.user_id,
        refresh.session_id,
        family_hash=refresh.family_hash,
        secret_hash=refresh.secret_hash,
        created_at=times.text(now),
        expires_at=sessions.expiry(now, now),
    )
    return put("session", session)


def spend(
    session: Session, spent: RefreshToken, following: RefreshToken, kid: str, now: datetime
) -> bool:
    """Replace a refresh token by the next one; return False if it was no longer current."""
    return update_if(
        Session(session.user_id, session.session_id),
        [
            Session.secret_hash.set(following.secret_hash),
            Session.spent_hash.set(spent.secret_hash),
            Session.spent_at.set(times.millis(now)),
            Session.kid.set(kid),
            Session.expires_at.set(sessions.expiry(times.parse(session.created_at), now)),
        ],
        Session.secret_hash == spent.secret_hash,
    )


def find_spent_at(session: Session, token: RefreshToken, now: datetime) -> datetime | None:
    """Return the time at which the token was spent, if that was within the last 20 s, else None."""
    if not token.has_secret(session.spent_hash):
        return None
    spent_at = datetime.fromtimestamp(int(session.spent_at or 0) / 1000, UTC)
    return spent_at if now - spent_at < sessions.REUSE_GRACE else None


def delete_all(user_id: str) -> None:
    """Delete every session of a user."""
    delete_partition(Session, user_id)
