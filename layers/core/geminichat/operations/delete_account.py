"""Delete an account after a grace period, unless its user logs in first."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from geminichat import config
from geminichat.clients import payments
from geminichat.domain.sessions import ENDED, Claims
from geminichat.errors import Contended, InvalidCode, PaymentsOff, Unauthorized
from geminichat.operations import live_connections
from geminichat.runtime import log
from geminichat.tables import exports, identities, purges, subscriptions, users
from geminichat.tables.table import ConditionsFailed, Write, transact
from geminichat.tables.users import User


def request(
    user: User, claims: Claims | None, confirmed: Sequence[Write], now: datetime
) -> datetime:
    """End payments and sessions, delete the export, and schedule the purge; return its time.

    `claims` are the claims of the user's session, or None for an operator. An account without a
    proven identity is removed at once. Raises Unauthorized if the session has ended in the
    meantime, InvalidCode if the code that confirms the deletion was used, Contended, and
    PaymentProviderFailed.
    """
    end_billing(user.user_id)
    purge_at = compute_purge_time(user, now)
    if users.has_proven_identity(user):
        writes = [
            users.leave(user.user_id, claims, purge_at, now),
            purges.schedule_departure(user.user_id, purge_at, now),
        ]
    else:
        writes = [
            users.remove(user.user_id, user),
            purges.schedule(user.user_id, purge_at),
            *(identities.remove(one, user.user_id) for one in users.all_identities_of(user)),
        ]
    try:
        transact(*writes, exports.withdraw(user.user_id), *confirmed)
    except ConditionsFailed as error:
        if error.of("confirmation"):
            raise InvalidCode() from error
        raise (Unauthorized(ENDED) if claims else Contended()) from error
    live_connections.close_ended(user.user_id, now)
    return purge_at


def compute_purge_time(user: User, now: datetime) -> datetime:
    """Return the time of the deletion if it is requested now."""
    grace = timedelta(days=config.number("DELETION_GRACE_DAYS"))
    is_kept = users.has_proven_identity(user)
    return now + (max(grace, purges.LONGEST_REQUEST) if is_kept else purges.LONGEST_REQUEST)


def end_billing(user_id: str) -> None:
    """Cancel everything that Stripe could still bill to the user. Raises PaymentProviderFailed."""
    customer_id = subscriptions.load(user_id).stripe_customer_id
    try:
        if customer_id is not None:
            payments.end_billing(customer_id)
    except PaymentsOff:  # the purge tries again, and raises an alarm
        log.error("billing not ended: payments are off", user_id=user_id)
