"""make admin: export the data of an account; only its user can fetch the archive, after a login.

A notice is sent to the account's identities. The request and the audit item are stored in one
transaction.
"""

from datetime import datetime

from geminichat.administration import DONE_BEFORE, Outcome, performs
from geminichat.domain import accounts as texts
from geminichat.domain.acts import Export
from geminichat.errors import Conflict, Contended, NotFound
from geminichat.operations import export_account, notices
from geminichat.tables import audit, exports, users
from geminichat.tables.table import ConditionsFailed, batch_get


@performs(Export)
def handler(act: Export, operator: str, now: datetime) -> Outcome:
    """Request the export if the act is not recorded yet.

    Raises NotFound, Conflict, TooManyRequests, Contended, Unavailable.
    """
    user, known, recorded = batch_get(
        users.key_of(act.user_id), exports.key_of(act.user_id), audit.key_of(act)
    )
    if recorded:
        return DONE_BEFORE
    if user is None:
        raise NotFound(f"There is no user {act.user_id}.")
    if user.banned_at:
        raise Conflict(f"{user.user_id} is banned and cannot fetch an export: end the ban first.")
    export_account.check_daily_limit(known, now)
    if not act.dry_run:
        writes = users.require_user(user.user_id), audit.put_act(act, operator, now)
        try:
            export_account.request(user.user_id, now, *writes)
        except ConditionsFailed as error:
            raise Contended() from error
        identities = users.identities_of(user)
        notices.send(user.user_id, identities, texts.export_notice(now), now)
    return Outcome(
        message=f"The data of {user.user_id} is being collected. The user can fetch it for 24 "
        "hours, on the console's account page or from GET /user/export."
    )
