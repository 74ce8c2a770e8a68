"""make admin: delete an account after the grace period, unless its user logs in first.

A notice is sent to the account's identities. The account and the audit item change in one
transaction. Payments are ended before the transaction, and again by the purge.
"""

from datetime import datetime

from geminichat.administration import DONE_BEFORE, Outcome, performs
from geminichat.domain import accounts as texts
from geminichat.domain import times
from geminichat.domain.acts import Delete
from geminichat.errors import Conflict, NotFound
from geminichat.operations import delete_account, live_connections, notices
from geminichat.tables import audit, users
from geminichat.tables.table import batch_get


@performs(Delete)
def handler(act: Delete, operator: str, now: datetime) -> Outcome:
    """Schedule the deletion if the act is not recorded yet.

    Raises NotFound, Conflict, Contended, PaymentProviderFailed.
    """
    user, recorded = batch_get(users.key_of(act.user_id), audit.key_of(act))
    if recorded:
        live_connections.close_ended(act.user_id, now)
        return DONE_BEFORE
    if user is None:
        raise NotFound(f"There is no user {act.user_id}.")
    may_return = users.has_proven_identity(user) and not user.banned_at
    if user.purge_at is not None:
        due = times.of_epoch(user.purge_at)
        raise Conflict(f"The deletion of {user.user_id} is already scheduled for {due}.")
    if act.dry_run:
        purge_at = delete_account.compute_purge_time(user, now)
    else:
        purge_at = delete_account.request(user, None, [audit.put_act(act, operator, now)], now)
        notice = texts.departure_notice(times.text(purge_at), may_return=may_return)
        notices.send(user.user_id, users.identities_of(user), notice, now)
    message = f"{user.user_id} will be deleted on {times.text(purge_at)}"
    if may_return:
        message += "; a login before that time keeps the account"
    if user.banned_at:
        message += ". The deletion ends the ban: a new account may then have the email or number"
    details = {"purgeAt": times.text(purge_at)}
    return Outcome(message=f"{message}.", details=details)
