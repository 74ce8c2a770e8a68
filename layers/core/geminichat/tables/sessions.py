"""The sessions table: a user's sessions, each with hashes of its newest refresh token."""

from datetime import datetime

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.config import setting
from geminichat.domain import sessions, times
from geminichat.domain.sessions import RefreshToken
from geminichat.tables.connection import Table


class Session(Table):
    """A session; `epoch` is the user's at its beginning, and ends it when the user's moves on."""

    class Meta:
        table_name = setting("SESSIONS_TABLE")

    user_id = UnicodeAttribute(hash_key=True)
    session_id = UnicodeAttribute(range_key=True)
    family_hash = UnicodeAttribute()
    secret_hash = UnicodeAttribute()
    epoch = NumberAttribute()
    created_at = UnicodeAttribute()
    expires_at = NumberAttribute()


def new(refresh: RefreshToken, epoch: int, now: datetime) -> Session:
    """Return a session to store: the one whose first refresh token this is."""
    return Session(
        refresh.user_id,
        refresh.session_id,
        family_hash=refresh.family_hash,
        secret_hash=refresh.secret_hash,
        epoch=epoch,
        created_at=times.text(now),
        expires_at=sessions.expiry(now),
    )


def begin(user_id: str, epoch: int, now: datetime) -> RefreshToken:
    """Store a new session of the user and return its first refresh token."""
    refresh = RefreshToken.first(user_id)
    new(refresh, epoch, now).save(Session.user_id.does_not_exist())
    return refresh


def is_alive(session: Session | None, user_epoch: int, now: datetime) -> bool:
    """Say whether a session that was looked for is there and goes on."""
    return session is not None and sessions.is_alive(
        epoch=int(session.epoch),
        user_epoch=user_epoch,
        expires_at=int(session.expires_at),
        now=now,
    )
