"""The users table: one item an account."""

from datetime import datetime
from typing import Any

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute

from geminichat.domain import times
from geminichat.domain.identities import Identity
from geminichat.domain.quota import Allowance
from geminichat.domain.sessions import ENDED, RefreshToken
from geminichat.domain.users import Account
from geminichat.errors import TokenReused, Unauthorized
from geminichat.tables import sessions, usage
from geminichat.tables.sessions import Session
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.table import Key, Table, batch_get, update_if
from geminichat.tables.usage import Usage


class User(Table):
    """An account; `session_epoch` ends every session that began under an earlier one."""

    class Meta:
        setting = "USERS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    email = UnicodeAttribute(null=True)
    email_verified = BooleanAttribute(default=False)
    mobile = UnicodeAttribute(null=True)
    mobile_verified = BooleanAttribute(default=False)
    password_hash = UnicodeAttribute(null=True)
    session_epoch = NumberAttribute(default=0)
    created_at = UnicodeAttribute()


def find(user_id: str) -> User | None:
    """Return the user, or None."""
    try:
        return User.get(user_id, consistent_read=True)
    except User.DoesNotExist:
        return None


def current(user_id: str, session_id: str, now: datetime, *also: Key) -> list[Any]:
    """Return the user of a live session, and what else is wanted (see batch_get), in one call.

    Raises Unauthorized where the session has ended, so that its access tokens die here at once.
    """
    user, session, *others = batch_get(Key(User, user_id), Key(Session, user_id, session_id), *also)
    if user is None or not sessions.is_alive(session, int(user.session_epoch), now):
        raise Unauthorized(ENDED)
    return [user, *others]


def account(user_id: str, session_id: str, now: datetime) -> Account:
    """Return the user of a live session as the wire shows it. Raises Unauthorized."""
    user, used, subscription = with_allowance(user_id, session_id, now)
    return view(user, usage.allowance_of(user_id, subscription, used, now))


def with_allowance(user_id: str, session_id: str, now: datetime) -> list[Any]:
    """Return the user of a live session, its usage today and its subscription.

    Raises Unauthorized.
    """
    return current(
        user_id,
        session_id,
        now,
        Key(Usage, user_id, times.day(now)),
        Key(Subscription, user_id),
    )


def view(user: User, allowance: Allowance) -> Account:
    """Return the user as the wire shows it."""
    return Account(
        id=user.user_id,
        email=user.email,
        email_verified=user.email_verified,
        mobile=user.mobile,
        mobile_verified=user.mobile_verified,
        plan=allowance.plan,
        usage=allowance.usage(),
        created_at=user.created_at,
    )


def refresh_session(spent: RefreshToken, now: datetime) -> RefreshToken:
    """Return the refresh token that follows this one, which is spent then.

    Raises Unauthorized. A genuine token that was spent before ends its session.
    """
    user, session = batch_get(
        Key(User, spent.user_id), Key(Session, spent.user_id, spent.session_id)
    )
    if session is None or not spent.is_of(session.family_hash):
        raise Unauthorized(ENDED)
    if spent.is_newest(session.secret_hash):
        if user is None or not sessions.is_alive(session, int(user.session_epoch), now):
            raise Unauthorized(ENDED)
        following = sessions.rotate(session, spent, now)
        if following:
            return following
    sessions.end(spent.user_id, spent.session_id)
    raise TokenReused()


def end_sessions(user: User) -> None:
    """End every session of the user, as it was read; one that began since then goes on."""
    update_if(
        user,
        [User.session_epoch.add(1)],
        User.session_epoch == int(user.session_epoch),
    )


def identity_of(user: User) -> Identity:
    """Return an identity that the user goes by: the email where there is one."""
    return Identity("email", user.email) if user.email else Identity("mobile", user.mobile)
