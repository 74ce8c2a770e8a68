"""What is written when people come in: a user, the identity it goes by, a session, a code spent.

Each is one transaction over the tables of all four. Beside the users table for those who import it
without coming in.
"""

from collections.abc import Callable
from datetime import datetime

from pynamodb.attributes import BooleanAttribute

from geminichat.domain import ids, times
from geminichat.domain.codes import Sending
from geminichat.domain.identities import Identity
from geminichat.domain.sessions import ENDED, RefreshToken
from geminichat.domain.users import Account
from geminichat.errors import (
    IdentityNotVerified,
    IdentityTaken,
    InvalidCode,
    Unauthorized,
    Unavailable,
)
from geminichat.tables import codes, identities, sessions, usage
from geminichat.tables.codes import Proof
from geminichat.tables.identities import Claim
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.table import (
    ConditionsFailed,
    Key,
    Write,
    batch_get,
    check,
    delete,
    put,
    transact,
    transact_if,
    update,
)
from geminichat.tables.usage import Usage
from geminichat.tables.users import User, find, view, with_allowance

NOBODY = "u_nobody"
"""The key that is read where there is no user, so that it takes as long as where there is one."""


def find_by(identity: Identity) -> User | None:
    """Return the user who goes by the identity, or None; two reads in either case."""
    claim = identities.find(identity)
    return find(claim.user_id if claim else NOBODY)


def claimable(identity: Identity, now: datetime) -> Claim | None:
    """Return the unproven claim whose place a sign-up of the identity takes; None for none.

    An account that came to something is not lost to whoever types its identity: only a proof takes
    it over. Raises Conflict there, where the identity is proven, and where a sign-up won that was
    under way when this one came, at `now`.
    """
    claim = identities.find(identity)
    if claim is None:
        return None
    if claim.verified or claim.since >= times.text(now) or _has_rooms(claim):
        raise IdentityTaken()
    return claim


def sign_up(
    identity: Identity,
    password_hash: str | None,
    replaced: Claim | None,
    sending: Sending | None,
    now: datetime,
) -> tuple[Account, RefreshToken | None]:
    """Store a new user who claims the identity, with a session where there is a password.

    An earlier claim that nobody proved (`replaced`, see `claimable`) goes, and the user behind it,
    unless that user has come to pay. A code that is to be sent is stored. All of it or nothing.
    Raises Conflict where the identity was claimed or proven by another in the meantime,
    TooManyRequests where another code was sent.
    """
    user = _new(identity, now)
    user.password_hash = password_hash
    refresh = RefreshToken.first(user.user_id) if password_hash else None
    # Since it is made, not asked for: who asked before that was too late (`claimable`). Said once:
    # a transaction that is tried again under its token must be the same.
    claim = identities.claim(identity, user.user_id, times.now(), verified=False)

    writes = [
        put("identity", claim, identities.unchanged(replaced)),
        put("user", user, User.user_id.does_not_exist()),
    ]
    if replaced is not None:
        writes += _removing_claimant(replaced)
    if refresh:
        writes.append(put("session", sessions.new(refresh, 0, now)))
    if sending:
        writes.append(codes.storing(sending))
    try:
        transact(*writes)
    except ConditionsFailed as error:
        if sending and error.only("sent code"):
            raise sending.too_soon() from error
        raise IdentityTaken() from error
    return view(user, usage.allowance_of(user.user_id, None, None, now)), refresh


def enter(proof: Proof, now: datetime) -> tuple[Account, RefreshToken]:
    """Open a session for the user of a proven identity; nobody's yet makes a new user.

    The first proof of an identity drops the password and the sessions from before it: whoever set
    them proved nothing. Raises InvalidCode where the code was used in the meantime.
    """
    return _act_on(proof, lambda claim: _enter(proof, claim, now))


def _enter(proof: Proof, claim: Claim | None, now: datetime) -> tuple[Account, RefreshToken]:
    known = used = subscription = None
    if claim:
        known, used, subscription = batch_get(
            Key(User, claim.user_id),
            Key(Usage, claim.user_id, times.day(now)),
            Key(Subscription, claim.user_id),
        )
        if known is None:
            raise _Changed()
    first_proof = claim is None or not claim.verified
    user = known or _new(proof.identity, now)
    seen_epoch = int(user.session_epoch)
    epoch = seen_epoch + 1 if known and first_proof else seen_epoch
    refresh = RefreshToken.first(user.user_id)
    setattr(user, _verified(proof.identity).attr_name, True)

    writes = [put("session", sessions.new(refresh, epoch, now)), codes.spending(proof)]
    if first_proof:
        proven = identities.claim(proof.identity, user.user_id, now, verified=True)
        writes.append(put("identity", proven, identities.unchanged(claim)))
    if known is None:
        writes.append(put("user", user, User.user_id.does_not_exist()))
    elif first_proof:
        actions = [
            _verified(proof.identity).set(True),
            User.session_epoch.set(epoch),
            User.password_hash.remove(),
        ]
        unchanged = User.session_epoch == seen_epoch
        writes.append(update("user", User(user.user_id), actions, unchanged))
    transact(*writes)
    return view(user, usage.allowance_of(user.user_id, subscription, used, now)), refresh


def reset_password(proof: Proof, password_hash: str, now: datetime) -> None:
    """Set the password of the user of a proven identity, and end every session.

    Raises InvalidCode where there is no such user, or the code was used in the meantime.
    """
    _act_on(proof, lambda claim: _reset_password(proof, claim, password_hash, now))


def _reset_password(proof: Proof, claim: Claim | None, password_hash: str, now: datetime) -> None:
    if claim is None:
        raise InvalidCode()

    actions = [
        User.password_hash.set(password_hash),
        User.session_epoch.add(1),
        _verified(proof.identity).set(True),
    ]
    writes = [
        update("user", User(claim.user_id), actions, User.user_id.exists()),
        codes.spending(proof),
    ]
    if not claim.verified:
        proven = identities.claim(proof.identity, claim.user_id, now, verified=True)
        writes.append(put("identity", proven, identities.unchanged(claim)))
    transact(*writes)


def add_identity(proof: Proof, user_id: str, session_id: str, now: datetime) -> Account:
    """Make a proven identity the user's, in the place of another of its kind; return the user.

    Both then let their owner in, so the user's own has to be proven before. Raises
    IdentityNotVerified, Unauthorized, IdentityTaken where the new one is somebody else's, and
    InvalidCode where the code was used.
    """
    return _act_on(proof, lambda claim: _add_identity(proof, claim, user_id, session_id, now))


def _add_identity(
    proof: Proof, claim: Claim | None, user_id: str, session_id: str, now: datetime
) -> Account:
    user, used, subscription = with_allowance(user_id, session_id, now)
    kind, value = proof.identity.kind, proof.identity.value
    if not (user.email_verified or user.mobile_verified):
        raise IdentityNotVerified()
    if claim and claim.user_id != user_id and (claim.verified or _has_rooms(claim)):
        raise IdentityTaken()
    attribute, before = getattr(User, kind), getattr(user, kind)
    unchanged = (User.session_epoch == int(user.session_epoch)) & (
        attribute == before if before else attribute.does_not_exist()
    )
    setattr(user, kind, value)
    setattr(user, _verified(proof.identity).attr_name, True)

    proven = identities.claim(proof.identity, user_id, now, verified=True)
    actions = [attribute.set(value), _verified(proof.identity).set(True)]
    writes = [
        put("identity", proven, identities.unchanged(claim)),
        update("user", User(user_id), actions, unchanged),
        codes.spending(proof),
    ]
    if claim and claim.user_id != user_id:
        writes += _removing_claimant(claim)
    if before and before != value:
        replaced = Claim(Identity(kind, before).key)
        writes.append(delete("replaced identity", replaced, Claim.user_id == user_id))
    transact(*writes)
    return view(user, usage.allowance_of(user_id, subscription, used, now))


def change_password(user: User, password_hash: str, now: datetime) -> RefreshToken:
    """Set the user's password, end every session and begin a new one.

    Raises Unauthorized where the sessions were ended in the meantime, this request's among them.
    """
    seen_epoch = int(user.session_epoch)
    refresh = RefreshToken.first(user.user_id)

    actions = [
        User.password_hash.set(password_hash),
        User.session_epoch.set(seen_epoch + 1),
    ]
    if not transact_if(
        put("session", sessions.new(refresh, seen_epoch + 1, now)),
        update("user", User(user.user_id), actions, User.session_epoch == seen_epoch),
    ):
        raise Unauthorized(ENDED)
    return refresh


class _Changed(Exception):
    """What was read together does not belong together: someone wrote in between."""


def _act_on[T](proof: Proof, act: Callable[[Claim | None], T]) -> T:
    """Return what `act` makes of the proven identity's claim, read anew when it changed meanwhile.

    Raises InvalidCode where it is spent.
    """
    for _ in range(3):
        try:
            return act(identities.find(proof.identity))
        except _Changed:
            continue
        except ConditionsFailed as error:
            if error.of("code"):
                raise InvalidCode() from error
    raise Unavailable()


def _removing_claimant(claim: Claim) -> list[Write]:
    """Return the writes that delete the user of an unproven claim, unless that user pays."""
    subscription = Subscription(claim.user_id)
    return [
        check("claimant's subscription", subscription, Subscription.user_id.does_not_exist()),
        delete("claimant", User(claim.user_id)),
    ]


def _has_rooms(claim: Claim) -> bool:
    from geminichat.tables import chatrooms  # to enter by a code takes no look at rooms

    return chatrooms.has_any(claim.user_id)


def _new(identity: Identity, now: datetime) -> User:
    user = User(ids.new("u"), created_at=times.text(now))
    setattr(user, identity.kind, identity.value)
    return user


def _verified(identity: Identity) -> BooleanAttribute:
    return User.email_verified if identity.kind == "email" else User.mobile_verified
