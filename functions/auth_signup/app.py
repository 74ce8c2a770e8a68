"""POST /auth/signup: create an account, with an email and a password or with a mobile number.

The new account is unproven, and replaces an earlier unproven account with the same identity.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import UNSET

from geminichat import config, metrics
from geminichat.api import NO_STORE, Request, Response, created, endpoint
from geminichat.domain import hashing, limits, times
from geminichat.domain.accounts import NewAccount, SignedUp
from geminichat.domain.codes import Purpose
from geminichat.domain.identities import Identity
from geminichat.domain.limits import Window
from geminichat.domain.passwords import check_uncommon
from geminichat.domain.quota import Allowance
from geminichat.domain.sessions import OpenSession
from geminichat.errors import DeliveryFailed, IdentityTaken, TooManyRequests, WeakPassword
from geminichat.operations import accounts, one_time_codes, show_usage
from geminichat.operations.one_time_codes import Issue
from geminichat.tables import identities, purges, sessions, usage, users
from geminichat.tables import limits as limits_table
from geminichat.tables.identities import IdentityRecord
from geminichat.tables.table import ConditionsFailed, batch_get, transact
from geminichat.tables.users import User

IN_USE_FOR = timedelta(hours=1)
"""The time for which a new session protects an unproven user from another sign-up."""


class _Admission(msgspec.Struct, frozen=True, kw_only=True):
    """The records that were read to allow a sign-up."""

    seen: IdentityRecord | None
    """The record that the sign-up replaces: unproven, or left behind by a deleted user."""
    windows: Sequence[Window]
    allowance: Allowance


@endpoint(public=True, errors=[DeliveryFailed, IdentityTaken, TooManyRequests, WeakPassword])
def handler(request: Request) -> Response[SignedUp]:
    """Answer 201 with the user, and tokens if there is a password; a mobile number gets a code."""
    new = request.body(NewAccount)
    check_uncommon("/password", new.password, config.common_passwords())

    identity, source, now = new.identity, request.source, request.now
    user = users.new(identity, now, verified=False)
    admission = _admit(user, identity, source, now)
    user.password_hash = hashing.hash_password(new.password) if new.password else None
    session = OpenSession.begin(user.user_id, now) if new.password else None
    code = None
    if identity.kind == "mobile":
        code = one_time_codes.issue(identity, Purpose.LOGIN, source, None, now)
    _store(user, identity, session, code, admission, now)
    metrics.emit(SignUps=1)

    signed_up = SignedUp.of(
        show_usage.view_account(user, admission.allowance),
        request.tokens(session) if session else None,
        code.code.challenge if code else None,
        one_time_codes.deliver(code) if code else UNSET,
    )
    of_address = limits.headers([window.count_events(1) for window in admission.windows], now)
    headers = {**NO_STORE, **(code.headers() if code else {}), **of_address}
    return created(signed_up, "The account was created.", headers=headers)


def _admit(user: User, identity: Identity, source: str, now: datetime) -> _Admission:
    """Check that the identity is free. Raises IdentityTaken, TooManyRequests."""
    quota = config.number("SIGNUPS_PER_ADDRESS")
    windows = limits.address_windows("sign-ups", source, quota, limits.HOUR, now)
    record, *items = batch_get(
        identities.key_of(identity),
        *usage.list_unproven_keys(identity.value, now),
        *map(limits_table.key_of, windows),
    )
    counts, counters = items[:2], items[2:]
    windows = limits_table.add_counts(windows, counters, now)
    for window in windows:
        if window.wait(now):
            raise _build_too_many_sign_ups(window, now)
    seen = identities.drop_expired(record, now)
    if seen and not accounts.is_left_behind(seen) and _is_kept(seen, now):
        raise IdentityTaken()
    allowance = usage.allowance_of(user.user_id, None, None, now)
    allowance = usage.apply_unproven_counts(allowance, identity.value, *counts)
    return _Admission(seen=seen, windows=windows, allowance=allowance)


def _store(
    user: User,
    identity: Identity,
    session: OpenSession | None,
    code: Issue | None,
    admission: _Admission,
    now: datetime,
) -> None:
    """Store the user, its session and its code, in place of an earlier unproven user."""
    seen = admission.seen
    writes = [
        identities.register(identity, user.user_id, seen, now),
        purges.schedule(user.user_id, now + identities.UNPROVEN_LIFETIME),
        *(limits_table.count_event(window, now) for window in admission.windows),
    ]
    if session:
        users.add_first_session(user, session.refresh.session_id, now)
        writes.append(sessions.begin(session.refresh, now))
    writes.append(users.create(user))
    if seen and not seen.proven:
        writes += accounts.remove_unproven(seen, now)
    if code:
        writes += one_time_codes.build_writes(code)
    try:
        transact(*writes)
    except ConditionsFailed as error:
        for window in admission.windows:
            if error.of(window.name):
                raise _build_too_many_sign_ups(window, now) from error
        if code and not error.of("identity"):
            raise one_time_codes.build_refusal(code, error) from error
        raise IdentityTaken() from error


def _is_kept(record: IdentityRecord, now: datetime) -> bool:
    """Return whether the identity is proven, or its unproven user is in use.

    A user is in use if it signed up just now, or has a session that began within the last hour.
    """
    if record.proven or record.since >= times.text(now):
        return True
    user = users.find(record.user_id)
    hour_ago = (now - IN_USE_FOR).timestamp()
    return user is not None and any(at > hour_ago for at in users.sessions_of(user).values())


def _build_too_many_sign_ups(window: Window, now: datetime) -> TooManyRequests:
    seconds = window.seconds(now)
    full = window.count_events(window.quota)
    return TooManyRequests(
        f"Too many sign-ups from your IP address. Try again in {seconds} s.",
        retry_after=seconds,
        headers=limits.headers([full], now),
    )
