"""The users table: one item per account, with its identities, its password and its sessions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pynamodb.attributes import (
    BooleanAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.expressions.condition import Condition, size
from pynamodb.expressions.update import Action

from geminichat.domain import ids, sessions, times
from geminichat.domain.identities import Identity
from geminichat.domain.sessions import ENDED, MOST_SESSIONS, Claims
from geminichat.errors import AccountSuspended, Unauthorized
from geminichat.tables.table import (
    ConditionsFailed,
    Key,
    Table,
    Write,
    batch_get,
    check,
    delete,
    find_item,
    put,
    transact,
    transact_if,
    update,
)


class User(Table):
    """An account. `sessions` maps the id of each session to the epoch second of its beginning.

    A session that is not in `sessions` has ended, so that one write can end all sessions.
    """

    class Meta:
        setting = "USERS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    email = UnicodeAttribute(null=True)
    email_verified = BooleanAttribute(default=False)
    mobile = UnicodeAttribute(null=True)
    mobile_verified = BooleanAttribute(default=False)
    password_hash = UnicodeAttribute(null=True)
    sessions: MapAttribute[str, Any] = MapAttribute(default=dict)
    devices_since = NumberAttribute(default=0)
    """The epoch second before which all device tokens are invalid: see `domain.devices`."""
    purge_at = NumberAttribute(null=True)
    """The epoch second of the requested deletion of the account; a login removes it."""
    banned_at = UnicodeAttribute(null=True)
    """When an operator suspended the account; a suspended account cannot have a session."""
    created_at = UnicodeAttribute()


def new(identity: Identity, now: datetime, *, verified: bool) -> User:
    """Return a new user, which is not stored yet and has no session."""
    user = User(ids.new("u"), created_at=times.text(now), sessions={})
    setattr(user, identity.kind, identity.value)
    setattr(user, f"{identity.kind}_verified", verified)
    return user


def add_first_session(user: User, session_id: str, now: datetime) -> None:
    """Add a session to a new user before it is stored."""
    user.sessions = {session_id: int(now.timestamp())}


def find(user_id: str) -> User | None:
    """Return the user, or None."""
    return find_item(User, user_id)


def key_of(user_id: str) -> Key:
    return Key(User, user_id)


def read_current(claims: Claims, now: datetime, *also: Key) -> list[Any]:
    """Return the user of a session, and the items with further keys, by one network call.

    Raises Unauthorized if the session has ended, and AccountSuspended.
    """
    user, *others = batch_get(key_of(claims.user_id), *also)
    require_session(user, claims.session_id, now)
    return [user, *others]


def require_session(user: User | None, session_id: str, now: datetime) -> None:
    """Require that the session has not ended. Raises Unauthorized, AccountSuspended."""
    if user is None:
        raise Unauthorized(ENDED)
    require_not_banned(user)
    if not has_valid_session(user, session_id, now):
        raise Unauthorized(ENDED)


def require_not_banned(user: User) -> None:
    """Require that no operator has suspended the account. Raises AccountSuspended."""
    if user.banned_at:
        raise AccountSuspended()


def has_valid_session(user: User, session_id: str, now: datetime) -> bool:
    """Return whether the user has this session, and it has not ended."""
    return sessions.is_valid(sessions_of(user).get(session_id), now)


def sessions_of(user: User) -> dict[str, int]:
    """Return the epoch second at which each session began, by session id, the oldest first."""
    began = user.sessions.as_dict() if user.sessions else {}
    return {key: int(began[key]) for key in sorted(began, key=lambda key: int(began[key]))}


def has_session(claims: Claims, now: datetime) -> Condition:
    """Return the condition that the session has not ended."""
    oldest = int((now - sessions.SESSION_LIFETIME).timestamp())
    valid: Condition = User.sessions[claims.session_id] > oldest
    return valid


def check_session(claims: Claims, now: datetime, *, proven: bool = False) -> Write:
    """Return the write "session"; its condition fails if the session has ended.

    With `proven`, the condition also fails if the user has proven no identity.
    """
    condition = has_session(claims, now)
    if proven:
        verified = (User.email_verified == True) | (User.mobile_verified == True)  # noqa: E712
        condition &= verified
    return check("session", User(claims.user_id), condition)


def transact_as(claims: Claims, now: datetime, *writes: Write) -> None:
    """Commit the writes if the session has not ended. Raises Unauthorized, ConditionsFailed."""
    try:
        transact(*writes, check_session(claims, now))
    except ConditionsFailed as error:
        if error.of("session"):
            raise Unauthorized(ENDED) from error
        raise


def has_proven_identity(user: User) -> bool:
    return bool(user.email_verified or user.mobile_verified)


def create(user: User) -> Write:
    """Return the write "user", which stores a new user."""
    return put("user", user, User.user_id.does_not_exist())


def begin_session(
    user: User, session_id: str, now: datetime, *more: Action, claims: Claims | None = None
) -> Write:
    """Return the write "user", which adds a session, in place of the oldest if there are 20.

    Its condition fails if the password has changed in the meantime, another session has taken the
    last place, the account was suspended, or the session of `claims` has ended.
    """
    began = list(sessions_of(user))
    actions = [User.sessions[session_id].set(int(now.timestamp())), *more]
    if user.purge_at is not None:
        actions.append(User.purge_at.remove())
    condition = _has(User.password_hash, user.password_hash) & User.banned_at.does_not_exist()
    condition &= User.user_id.exists()
    if len(began) >= MOST_SESSIONS:
        oldest = User.sessions[began[0]]
        actions.append(oldest.remove())
        condition &= oldest.exists()
    else:
        condition &= size(User.sessions) < MOST_SESSIONS
    if claims:
        condition &= has_session(claims, now)
    return update("user", User(user.user_id), actions, condition)


def remove(user_id: str, seen: User | None = None) -> Write:
    """Return the write "removed user", which deletes a user, and so ends every session.

    With `seen`, its condition fails if an identity was proven or changed since `seen` was read.
    """
    if seen is None:
        return delete("removed user", User(user_id))
    same = _has(User.email, seen.email) & _has(User.mobile, seen.mobile)
    same &= User.email_verified == seen.email_verified
    same &= User.mobile_verified == seen.mobile_verified
    return delete("removed user", User(user_id), same)


def leave(user_id: str, claims: Claims | None, purge_at: datetime, now: datetime) -> Write:
    """Return the write "user", which ends every session and notes the time of the deletion.

    Its condition fails if the session of `claims` has ended, or, without `claims`, if there is no
    such user.
    """
    actions = [User.purge_at.set(int(purge_at.timestamp())), *_end_others({}, now)]
    condition = has_session(claims, now) if claims else User.user_id.exists()
    return update("user", User(user_id), actions, condition)


def end_session(claims: Claims, now: datetime) -> None:
    """End a session. Raises Unauthorized if it has already ended."""
    actions = [User.sessions[claims.session_id].remove()]
    # A transaction's retry has the same token, so it succeeds if only the answer was lost.
    if not transact_if(update("user", User(claims.user_id), actions, has_session(claims, now))):
        raise Unauthorized(ENDED)


def require_user(user_id: str) -> Write:
    """Return the write "user", which requires that the user exists."""
    return check("user", User(user_id), User.user_id.exists())


def end_all_sessions(user_id: str, now: datetime) -> Write:
    """Return the write "user", which ends every session and device token of a user."""
    return update("user", User(user_id), _end_others({}, now), User.user_id.exists())


def ban(user_id: str, now: datetime) -> Write:
    """Return the write "user", which suspends an account and ends its sessions and device tokens.

    Its condition fails if the account is already suspended.
    """
    actions = [User.banned_at.set(times.text(now)), *_end_others({}, now)]
    is_free = User.user_id.exists() & User.banned_at.does_not_exist()
    return update("user", User(user_id), actions, is_free)


def unban(user_id: str) -> Write:
    """Return the write "user", which ends a ban. Its condition fails if there is no ban."""
    return update("user", User(user_id), [User.banned_at.remove()], User.banned_at.exists())


def end_sessions_from(claims: Claims, now: datetime) -> None:
    """End every session of this session's user. Raises Unauthorized if this session has ended."""
    actions = [User.sessions.set({})]
    if not transact_if(update("user", User(claims.user_id), actions, has_session(claims, now))):
        raise Unauthorized(ENDED)


def change_password(claims: Claims, password_hash: str, session_id: str, now: datetime) -> Write:
    """Return the write "user", which sets the password, and ends all sessions except a new one.

    Its condition fails if the session of `claims` has ended.
    """
    kept = {session_id: int(now.timestamp())}
    actions = [User.password_hash.set(password_hash), *_end_others(kept, now)]
    return update("user", User(claims.user_id), actions, has_session(claims, now))


def reset_password(
    user: User, password_hash: str, removed: Sequence[Identity], now: datetime
) -> Write:
    """Return the write "user", which sets the password and removes identities and all sessions.

    Its condition fails if one of the `removed` identities has changed in the meantime.
    """
    actions = [User.password_hash.set(password_hash), *_end_others({}, now)]
    condition: Condition = User.user_id.exists()
    for one in removed:
        actions += _remove(one)
        condition &= _attributes(one)[0] == one.value
    return update("user", User(user.user_id), actions, condition)


def prove(identity: Identity) -> list[Action]:
    """Return the actions that set a proven email or mobile number of the user."""
    value, verified = _attributes(identity)
    return [value.set(identity.value), verified.set(True)]


def set_identity(user: User, identity: Identity, claims: Claims, now: datetime) -> Write:
    """Return the write "user", which sets a proven email or mobile number of the user.

    If it replaces another one, all other sessions end. The write's condition fails if the session
    has ended, or the email or number has changed in the meantime.
    """
    value, _ = _attributes(identity)
    before = getattr(user, identity.kind)
    actions = prove(identity)
    if before and before != identity.value:
        session_id = claims.session_id
        actions += _end_others({session_id: sessions_of(user)[session_id]}, now)
    return update(
        "user", User(user.user_id), actions, has_session(claims, now) & _has(value, before)
    )


def restore_identity(
    user: User,
    identity: Identity,
    removed: Sequence[Identity],
    now: datetime,
    *,
    session_id: str | None = None,
    password_hash: str | None = None,
) -> Write:
    """Return the write "user", which restores a replaced identity in place of the removed ones.

    Every session ends. The password is set or removed, since the person who replaced the identity
    may know the password. The condition fails if a removed identity has changed in the meantime, or
    the account was suspended.
    """
    password = User.password_hash
    actions = [
        *prove(identity),
        *_end_others({session_id: int(now.timestamp())} if session_id else {}, now),
        password.set(password_hash) if password_hash else password.remove(),
    ]
    if session_id:
        actions.append(User.purge_at.remove())
    condition: Condition = User.user_id.exists() & User.banned_at.does_not_exist()
    for one in removed:
        if one.kind != identity.kind:
            actions += _remove(one)
        condition &= _attributes(one)[0] == one.value
    return update("user", User(user.user_id), actions, condition)


def identities_of(user: User) -> list[Identity]:
    """Return the identities that the user has proven."""
    return [one for one in all_identities_of(user) if getattr(user, f"{one.kind}_verified")]


def all_identities_of(user: User) -> list[Identity]:
    """Return the identities of the user, proven or not."""
    return [one for kind in ("email", "mobile") if (one := identity_of(user, kind))]


def identity_of(user: User, kind: str) -> Identity | None:
    """Return the user's identity of a kind, proven or not, or None if there is none."""
    value = getattr(user, kind)
    return Identity(kind, value) if value else None  # type: ignore[arg-type]


def copy_with_identity(user: User, identity: Identity, removed: Sequence[Identity] = ()) -> User:
    """Return a copy of the user with a proven identity and without the removed ones."""
    copy = User(**user.attribute_values)
    for one in removed:
        setattr(copy, one.kind, None)
        setattr(copy, f"{one.kind}_verified", False)
    setattr(copy, identity.kind, identity.value)
    setattr(copy, f"{identity.kind}_verified", True)
    return copy


def _attributes(identity: Identity) -> tuple[UnicodeAttribute, BooleanAttribute]:
    if identity.kind == "email":
        return User.email, User.email_verified
    return User.mobile, User.mobile_verified


def _end_others(kept: dict[str, int], now: datetime) -> list[Action]:
    """Return the actions that end every device token, and every session except `kept`."""
    return [User.sessions.set(kept), User.devices_since.set(int(now.timestamp()))]


def _remove(identity: Identity) -> list[Action]:
    value, verified = _attributes(identity)
    return [value.remove(), verified.set(False)]


def _has(attribute: UnicodeAttribute, value: str | None) -> Condition:
    same: Condition = attribute == value if value else attribute.does_not_exist()
    return same
