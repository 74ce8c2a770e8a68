"""The sessions table: a user's sessions, each with hashes of its newest refresh token."""

from datetime import datetime

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.domain import sessions, times
from geminichat.domain.sessions import RefreshToken
from geminichat.tables.table import Table, update_if


class Session(Table):
    """A session; `epoch` is the user's at its beginning, and ends it when the user's moves on."""

    class Meta:
        setting = "SESSIONS_TABLE"

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
    new(refresh, epoch, now).save()
    return refresh


def rotate(session: Session, spent: RefreshToken, now: datetime) -> RefreshToken | None:
    """Put a new refresh token in the place of this one, which was the newest when it was read.

    Returns None where another request has spent it in the meantime.
    """
    following = spent.next()
    rotated = update_if(
        session,
        [
            Session.secret_hash.set(following.secret_hash),
            Session.expires_at.set(sessions.expiry(now)),
        ],
        # A try whose answer was lost has left the new hash there: that was this request.
        Session.secret_hash.is_in(spent.secret_hash, following.secret_hash),
    )
    return following if rotated else None


def end(user_id: str, session_id: str) -> None:
    """End a session, be it there or not: its refresh token is worth nothing from now on."""
    Session(user_id, session_id).delete()


def is_alive(session: Session | None, user_epoch: int, now: datetime) -> bool:
    """Say whether a session that was looked for is there and goes on."""
    return session is not None and sessions.is_alive(
        epoch=int(session.epoch),
        user_epoch=user_epoch,
        expires_at=int(session.expires_at),
        now=now,
    )
