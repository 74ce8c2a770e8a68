"""Limit wrong passwords, and begin sessions.

A password is compared only if none of its limits has a pause. A wrong password is then counted, and
a right one begins a session. Both transactions require that no limit was reached meanwhile, so that
all parallel guesses beyond a limit get the same answer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from geminichat import metrics
from geminichat.domain import codes, hashing, limits, login_limits
from geminichat.domain.accounts import FreshProof
from geminichat.domain.devices import Device
from geminichat.domain.identities import Identity
from geminichat.domain.limits import Pause
from geminichat.domain.sessions import Claims, OpenSession
from geminichat.errors import Contended, InvalidCredentials, TooManyRequests
from geminichat.operations import known_devices, one_time_codes
from geminichat.tables import codes as codes_table
from geminichat.tables import identities, purges, sessions, users
from geminichat.tables import limits as limits_table
from geminichat.tables.table import ConditionsFailed, Write, batch_get, transact
from geminichat.tables.users import User

NOBODY = "u_nobody"
"""The id that is read for an unknown user, so that the answer takes as long as for a known user."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A password that may be compared, and the limits on wrong ones."""

    user_id: str
    pauses: Sequence[Pause]
    now: datetime
    wrong_codes: Pause | None = None
    """The count of wrong codes that the right password resets, or None if there is none."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers RateLimit and RateLimit-Policy."""
        return limits.headers(self.pauses, self.now)


def admit(identity: Identity, device_token: str | None, source: str, now: datetime) -> Attempt:
    """Return an attempt if the caller may try a password. Raises TooManyRequests."""
    device = Device.read(device_token)
    as_stranger = login_limits.of_stranger(identity, source)
    as_device = login_limits.of_device(device.id) if device else []
    all_pauses = [*as_stranger, *as_device]
    wrong_codes = codes.wrong_in_a_row(identity)
    record, user, has_wrong_codes, *counters = batch_get(
        identities.key_of(identity),
        users.key_of(device.user_id if device else NOBODY),
        *map(limits_table.key_of, [wrong_codes, *all_pauses]),
    )
    record = identities.drop_expired(record, now)
    counted = limits_table.add_counts(all_pauses, counters, now)
    is_known = known_devices.is_known(device, record, user)
    pauses = counted[len(as_stranger) :] if is_known else counted[: len(as_stranger)]
    # The password of an unproven account may be a stranger's, and must not give more tries.
    resets = has_wrong_codes and record and record.proven
    attempt = Attempt(
        user_id=record.user_id if record else NOBODY,
        pauses=pauses,
        now=now,
        wrong_codes=wrong_codes if resets else None,
    )
    _require_unpaused(attempt)
    return attempt


def reject(attempt: Attempt) -> InvalidCredentials:
    """Count a wrong password, and return the error for it.

    Raises TooManyRequests if parallel wrong passwords have reached a limit. `begin_session` raises
    the same error, so the answer to a guess beyond the limits does not depend on the password.
    """
    metrics.emit(LoginsFailed=1)
    return _count(attempt, InvalidCredentials.detail)


def begin_session(attempt: Attempt, user: User) -> OpenSession:
    """Begin a session of a user after the right password.

    Raises AccountSuspended, TooManyRequests if parallel wrong passwords have reached a limit, and
    InvalidCredentials if the password has changed.
    """
    now = attempt.now
    session = OpenSession.begin(user.user_id, now, int(user.devices_since))
    checks = [
        limits_table.require_unpaused(pause, now)
        if pause.name.startswith("address")
        else limits_table.forget_unpaused(pause, now)
        for pause in attempt.pauses
    ]
    if attempt.wrong_codes:
        checks.append(limits_table.forget(attempt.wrong_codes))
    for _ in range(3):
        users.require_not_banned(user)
        try:
            transact(
                sessions.begin(session.refresh, now),
                users.begin_session(user, session.refresh.session_id, now),
                *purges.cancel_departure(user),
                *checks,
            )
            return session
        except ConditionsFailed as error:
            if not error.of("user") and not error.of("purge"):
                raise _build_refusal() from error
        found = users.find(user.user_id)
        if found is None or found.password_hash != user.password_hash:
            raise InvalidCredentials()
        user = found
    raise Contended()


def confirm(
    user: User, fresh: FreshProof, claims: Claims, source: str, now: datetime
) -> tuple[Mapping[str, str], list[Write]]:
    """Require a fresh proof of a logged-in user: the current password, or a code.

    Returns the headers of the limit on wrong passwords, and the writes that use the code up.
    Raises InvalidCredentials, InvalidCode, TooManyRequests.
    """
    if fresh.current_otp is not None:
        held = users.identities_of(user)
        proof = one_time_codes.confirm(held, fresh.current_otp, claims.session_id, source, now)
        return {}, [msgspec.structs.replace(codes_table.use(proof, now), name="confirmation")]
    pauses = login_limits.of_session(claims.session_id)
    counters = batch_get(*map(limits_table.key_of, pauses))
    pauses = limits_table.add_counts(pauses, counters, now)
    attempt = Attempt(user_id=user.user_id, pauses=pauses, now=now)
    _require_unpaused(attempt)
    if not hashing.is_match(fresh.current_password or "", user.password_hash):
        raise _count(attempt, "The current password is wrong.")
    return attempt.headers, []


def _require_unpaused(attempt: Attempt) -> None:
    seconds = max(pause.wait(attempt.now) for pause in attempt.pauses)
    if seconds:
        raise TooManyRequests(
            f"Too many wrong passwords. Try again in {seconds} s, or log in with a code.",
            retry_after=seconds,
            headers=attempt.headers,
        )


def _count(attempt: Attempt, detail: str) -> InvalidCredentials:
    try:
        limits_table.count_failures(attempt.pauses, attempt.now)
    except ConditionsFailed as error:
        raise _build_refusal() from error
    after = [pause.count_failure(attempt.now) for pause in attempt.pauses]
    return InvalidCredentials(detail, headers=limits.headers(after, attempt.now))


def _build_refusal() -> TooManyRequests:
    """Return the error for a password after parallel requests have reached its limit."""
    return TooManyRequests("Too many wrong passwords. Try again in a moment.", retry_after=1)
