"""The users table: one item an account, written together with the identities it goes by."""

import secrets
from datetime import datetime
from typing import Any

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import TransactWriteError
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from geminichat.config import setting
from geminichat.domain import ids, times
from geminichat.domain.accounts import Account
from geminichat.domain.identities import Identity
from geminichat.domain.quota import Allowance
from geminichat.domain.sessions import ENDED, RefreshToken
from geminichat.errors import Conflict, Unauthorized
from geminichat.tables import identities, sessions, usage
from geminichat.tables.connection import Table, failed_conditions, get_together, transact
from geminichat.tables.identities import Claim
from geminichat.tables.sessions import Session
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.usage import Usage

NOBODY = "u_nobody"
"""The key that is read where there is no user, so that it takes as long as where there is one."""


class User(Table):
    """An account; `session_epoch` ends every session that began under an earlier one."""

    class Meta:
        table_name = setting("USERS_TABLE")

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


def find_by(identity: Identity) -> User | None:
    """Return the user who goes by the identity, or None; two reads in either case."""
    claim = identities.find(identity)
    return find(claim.user_id if claim else NOBODY)


def current(
    user_id: str, session_id: str, now: datetime, *also: tuple[type[Model], Any, Any]
) -> list[Any]:
    """Return the user of a live session, and what else is wanted (see get_together), in one call.

    Raises Unauthorized where the session has ended, so that its access tokens die here at once.
    """
    user, session, *others = get_together(
        (User, user_id, None), (Session, user_id, session_id), *also
    )
    if user is None or not sessions.is_alive(session, int(user.session_epoch), now):
        raise Unauthorized(ENDED)
    return [user, *others]


def account(user_id: str, session_id: str, now: datetime) -> Account:
    """Return the user of a live session as the wire shows it. Raises Unauthorized."""
    user, used, subscription = current(
        user_id,
        session_id,
        now,
        (Usage, user_id, times.day(now)),
        (Subscription, user_id, None),
    )
    return view(user, usage.allowance_from(user_id, subscription, used, now))


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


def sign_up(
    identity: Identity, password_hash: str | None, replaced: Claim | None, now: datetime
) -> tuple[Account, RefreshToken | None]:
    """Store a new user who claims the identity, with a session where there is a password.

    An earlier claim that nobody proved (`replaced`) goes, and the user behind it. Raises Conflict
    where the identity was claimed or proven by another in the meantime.
    """
    moment = times.text(now)
    user = User(
        ids.new("u"),
        email=identity.value if identity.kind == "email" else None,
        mobile=identity.value if identity.kind == "mobile" else None,
        password_hash=password_hash,
        created_at=moment,
    )
    claim = Claim(identity.key, user_id=user.user_id, verified=False, created_at=moment)
    refresh = RefreshToken.first(user.user_id) if password_hash else None

    def write(transaction: TransactWrite) -> None:
        if replaced is not None:
            transaction.delete(User(replaced.user_id))
        transaction.save(claim, condition=identities.unchanged(replaced))
        transaction.save(user, condition=User.user_id.does_not_exist())
        if refresh:
            transaction.save(sessions.new(refresh, 0, now))

    try:
        transact(write, token=secrets.token_hex(16))
    except TransactWriteError as error:
        if any(failed_conditions(error)):
            raise taken() from error
        raise
    return view(user, usage.allowance_from(user.user_id, None, None, now)), refresh


def taken() -> Conflict:
    """Return the error for an identity that is somebody's already."""
    return Conflict("This identity belongs to an account already.", code="identity-taken")
