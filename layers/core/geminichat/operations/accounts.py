"""Accounts: change users, identities and passwords, each change in one transaction.

Only a verified code proves an identity. Until then its record and its user are unproven. The first
proof deletes that user and creates a new one, unless the request comes from the user's own session.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from geminichat import metrics
from geminichat.domain import login_limits, times
from geminichat.domain.codes import Proof
from geminichat.domain.identities import Identity
from geminichat.domain.sessions import ENDED, EXPIRED, Claims, OpenSession, OptionalCaller
from geminichat.domain.users import Account
from geminichat.errors import (
    Contended,
    IdentityNotVerified,
    IdentityTaken,
    InvalidCode,
    Unauthorized,
)
from geminichat.operations import live_connections, one_time_codes, show_usage
from geminichat.tables import identities, purges, sessions, subscriptions, usage, users
from geminichat.tables import limits as limits_table
from geminichat.tables.identities import IdentityRecord
from geminichat.tables.table import ConditionsFailed, Write, batch_get, transact
from geminichat.tables.users import User


class CodeLogin(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a login by code."""

    account: Account
    session: OpenSession
    restored_from: Sequence[Identity] = ()
    """The user's identities before the code restored a replaced one; empty if it restored none."""


class Reset(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a password reset: the identities held before, and the removed ones."""

    user_id: str
    held: Sequence[Identity] = ()
    removed: Sequence[Identity] = ()


def log_in_by_code(
    proof: Proof, caller: OptionalCaller | None, source: str, now: datetime
) -> CodeLogin:
    """Begin a session of a proven identity's user, and create the user if there is none.

    `caller` is the session of the request, if it has one. Raises InvalidCode if the code was used
    in the meantime, and AccountSuspended. Raises Unauthorized if the request has an expired access
    token of the unproven user: with a new token, the user keeps the account's data.
    """
    used = [*one_time_codes.use(proof, now), *_forget_wrong_passwords(proof.identity, source)]
    for _ in range(3):
        record = identities.find(proof.identity, now)
        try:
            if record is None or not (record.proven or _can_adopt(record, caller, now)):
                return _register(proof.identity, record, used, now)
            return _begin_session(proof.identity, record, caller, used, now)
        except ConditionsFailed as error:
            if error.of("code"):
                raise InvalidCode() from error
    raise Contended()


def _register(
    identity: Identity, seen: IdentityRecord | None, used: Sequence[Write], now: datetime
) -> CodeLogin:
    """Create a user with a proven identity, and delete the unproven user who signed up with it.

    `seen` may also be the record of a replaced identity that cannot be restored: then its former
    user loses the identity.
    """
    user = users.new(identity, now, verified=True)
    session = OpenSession.begin(user.user_id, now)
    users.add_first_session(user, session.refresh.session_id, now)
    transact(*_create(user, identity, seen, now), sessions.begin(session.refresh, now), *used)
    metrics.emit(SignUps=1)
    return CodeLogin(account=show_usage.account_of(user, None, None, now), session=session)


def _begin_session(
    identity: Identity,
    record: IdentityRecord,
    caller: OptionalCaller | None,
    used: Sequence[Write],
    now: datetime,
) -> CodeLogin:
    """Begin a session of a known user; prove or restore the identity if that is not done yet."""
    user, counted, subscription = batch_get(
        users.key_of(record.user_id),
        usage.key_of(record.user_id, now),
        subscriptions.key_of(record.user_id),
    )
    if user is None and record.replaced:  # the record outlives its user for some days
        return _register(identity, record, used, now)
    if user is None:
        raise Contended()
    users.require_not_banned(user)
    removed = _list_added_after(record, user, now) if record.replaced else []
    if record.replaced and not _can_restore(identity, removed):
        return _register(identity, record, used, now)
    since = int(now.timestamp()) if record.replaced else int(user.devices_since)
    session = OpenSession.begin(user.user_id, now, since)
    session_id = session.refresh.session_id
    if record.replaced:
        changes = [
            identities.prove(identity, user.user_id, record, now),
            users.restore_identity(user, identity, removed, now, session_id=session_id),
            *_free(removed, user),
            *purges.cancel_departure(user),
        ]
    elif record.proven:
        changes = [users.begin_session(user, session_id, now), *purges.cancel_departure(user)]
    else:
        changes = _prove_first(user, identity, record, caller, session_id, now)
    transact(sessions.begin(session.refresh, now), *changes, *used)
    if record.replaced:
        live_connections.close_ended(user.user_id, now)
    proven = users.copy_with_identity(user, identity, removed)
    return CodeLogin(
        account=show_usage.account_of(proven, subscription, counted, now),
        session=session,
        restored_from=users.identities_of(user) if record.replaced else (),
    )


def _create(
    user: User, identity: Identity, seen: IdentityRecord | None, now: datetime
) -> list[Write]:
    """Return the writes that store a new user of a proven identity, and delete an unproven one."""
    return [
        users.create(user),
        identities.prove(identity, user.user_id, seen, now),
        *(remove_unproven(seen, now) if seen and not seen.proven else []),
    ]


def _prove_first(
    user: User,
    identity: Identity,
    record: IdentityRecord,
    caller: OptionalCaller | None,
    session_id: str,
    now: datetime,
) -> list[Write]:
    """Return the writes that begin a session and prove the identity for its unproven user."""
    claims = caller if caller and caller.user_id == user.user_id else None
    actions = users.prove(identity)
    return [
        users.begin_session(user, session_id, now, *actions, claims=claims),
        identities.prove(identity, user.user_id, record, now),
        purges.cancel(user.user_id),
    ]


def reset_password(proof: Proof, password_hash: str, source: str, now: datetime) -> Reset:
    """Set the password of the user with a proven identity, and end every session.

    Identities that are newer than this one, and at most seven days old, are removed: someone
    else may have added them. Raises AccountSuspended, and InvalidCode if there is no such user or
    the code was used in the meantime.
    """
    identity = proof.identity
    used = [*one_time_codes.use(proof, now), *_forget_wrong_passwords(identity, source)]
    for _ in range(3):
        record = identities.find(identity, now)
        if record is None:
            raise InvalidCode()
        try:
            if not record.proven:
                return _register_with_password(identity, record, password_hash, used, now)
            return _reset(identity, record, password_hash, used, now)
        except ConditionsFailed as error:
            if error.of("code"):
                raise InvalidCode() from error
    raise Contended()


def _register_with_password(
    identity: Identity,
    seen: IdentityRecord,
    password_hash: str,
    used: Sequence[Write],
    now: datetime,
) -> Reset:
    """Create a user with a password, in place of the unproven user of the identity."""
    user = users.new(identity, now, verified=True)
    user.password_hash = password_hash
    transact(*_create(user, identity, seen, now), *used)
    return Reset(user_id=user.user_id)


def _reset(
    identity: Identity,
    record: IdentityRecord,
    password_hash: str,
    used: Sequence[Write],
    now: datetime,
) -> Reset:
    """Set a known user's password, restore a replaced identity, and free removed identities."""
    user = users.find(record.user_id)
    if user is None:
        raise InvalidCode() if record.replaced else Contended()
    users.require_not_banned(user)
    removed = _list_added_after(record, user, now)
    if not record.replaced:
        changes = [users.reset_password(user, password_hash, removed, now)]
    elif _can_restore(identity, removed):
        changes = [
            users.restore_identity(user, identity, removed, now, password_hash=password_hash),
            identities.prove(identity, user.user_id, record, now),
        ]
    else:
        raise InvalidCode()
    transact(*changes, *_free(removed, user), *used)
    live_connections.close_ended(user.user_id, now)
    return Reset(user_id=user.user_id, held=users.identities_of(user), removed=removed)


def add_identity(
    proof: Proof, claims: Claims, confirmed: Sequence[Write], now: datetime
) -> tuple[Account, User]:
    """Add a proven identity to the user, in place of an earlier one of its kind.

    Returns the user after and before the change. Raises IdentityNotVerified for a user without a
    proven identity, IdentityTaken, Unauthorized, and InvalidCode if a code was used in the
    meantime.
    """
    identity = proof.identity
    for _ in range(3):
        keys = usage.key_of(claims.user_id, now), subscriptions.key_of(claims.user_id)
        user, counted, subscription = users.read_current(claims, now, *keys)
        before = users.identity_of(user, identity.kind)
        others = [before] if before and before.value != identity.value else []
        record, *replaced = identities.find_all([identity, *others], now)
        if not users.identities_of(user):
            raise IdentityNotVerified()
        is_foreign = record is not None and record.user_id != user.user_id
        if record and is_foreign and record.proven and not is_left_behind(record):
            raise IdentityTaken()
        writes = [
            identities.prove(identity, user.user_id, record, now),
            users.set_identity(user, identity, claims, now),
            *one_time_codes.use(proof, now),
            *confirmed,
        ]
        if record and is_foreign and not record.proven:
            writes += remove_unproven(record, now)
        writes += [identities.replace(one, now) for one in replaced if one]
        try:
            transact(*writes)
        except ConditionsFailed as error:
            if error.of("code") or error.of("confirmation"):
                raise InvalidCode() from error
            continue
        if others:
            live_connections.close_ended(user.user_id, now)
        changed = users.copy_with_identity(user, identity)
        return show_usage.account_of(changed, subscription, counted, now), user
    raise Contended()


def change_password(
    claims: Claims, password_hash: str, confirmed: Sequence[Write], now: datetime
) -> OpenSession:
    """Set the user's password, end every session and begin a new one.

    Raises Unauthorized if this session has ended in the meantime, and InvalidCode if the code that
    confirms the change was used in the meantime.
    """
    session = OpenSession.begin(claims.user_id, now, int(now.timestamp()))
    session_id = session.refresh.session_id
    try:
        transact(
            sessions.begin(session.refresh, now),
            users.change_password(claims, password_hash, session_id, now),
            *confirmed,
        )
    except ConditionsFailed as error:
        if error.of("confirmation"):
            raise InvalidCode() from error
        raise Unauthorized(ENDED) from error
    live_connections.close_ended(claims.user_id, now)
    return session


def _forget_wrong_passwords(identity: Identity, source: str) -> list[Write]:
    """Return the writes that reset the counts of wrong passwords, since a code was right."""
    own, total, *_ = login_limits.of_stranger(identity, source)
    return [limits_table.forget(own), limits_table.forget(total)]


def is_left_behind(record: IdentityRecord) -> bool:
    """Return whether a replaced identity is free because its former user was deleted."""
    return record.replaced and users.find(record.user_id) is None


def remove_unproven(record: IdentityRecord, now: datetime) -> list[Write]:
    """Return the writes that delete an unproven user at once, and the user's data soon after."""
    return [users.remove(record.user_id), purges.schedule_soon(record.user_id, now)]


def _list_added_after(record: IdentityRecord, user: User, now: datetime) -> list[Identity]:
    """Return the user's identities that are newer than the record, and at most seven days old."""
    others = [one for one in users.identities_of(user) if one.key != record.identity]
    since = max(record.since, times.text(now - identities.WAY_BACK))
    known = zip(others, identities.find_all(others, now), strict=True)
    return [one for one, other in known if other and other.since >= since]


def _can_restore(identity: Identity, removed: Sequence[Identity]) -> bool:
    """Return whether an identity of the same kind is removed, so that `identity` can replace it."""
    return any(one.kind == identity.kind for one in removed)


def _free(removed: Sequence[Identity], user: User) -> list[Write]:
    """Return the writes that free the removed identities."""
    return [identities.remove(one, user.user_id) for one in removed]


def _can_adopt(record: IdentityRecord, caller: OptionalCaller | None, now: datetime) -> bool:
    """Return whether the first proof keeps the unproven user.

    The user is kept if the caller has a session of the user, or if there is neither a password nor
    a session: then the account cannot contain a stranger's data. Raises Unauthorized if the
    caller's access token has expired.
    """
    user = users.find(record.user_id)
    if user is None:
        return False
    if not user.password_hash and not users.sessions_of(user):
        return True
    if caller is None or caller.user_id != user.user_id:
        return False
    if not users.has_valid_session(user, caller.session_id, now):
        return False
    if caller.is_expired:
        raise Unauthorized(EXPIRED)
    return True
