"""POST /user/export: queue an export of all data of the account; requires a fresh proof."""

from geminichat.api import NO_STORE, Request, Response, accepted, endpoint
from geminichat.domain import accounts as texts
from geminichat.domain import limits
from geminichat.domain.accounts import ExportRequest
from geminichat.domain.exports import Export
from geminichat.errors import InvalidCode, InvalidCredentials, TooManyRequests
from geminichat.operations import export_account, login, notices
from geminichat.tables import exports, users


@endpoint(errors=[InvalidCode, InvalidCredentials, TooManyRequests])
def handler(request: Request) -> Response[Export]:
    """Answer 202; GET /user/export returns the archive's URL when the archive is ready."""
    fresh = request.body(ExportRequest)
    key = exports.key_of(request.user_id)
    user, known = users.read_current(request.caller, request.now, key)
    limit = export_account.check_daily_limit(known, request.now)

    tries, used = login.confirm(user, fresh, request.caller, request.source, request.now)
    session = users.check_session(request.caller, request.now)
    export = export_account.request(user.user_id, request.now, session, *used)
    identities = users.identities_of(user)
    notices.send(user.user_id, identities, texts.export_notice(request.now), request.now)
    shown = limits.join_headers(tries, limits.headers([limit], request.now))
    return accepted(
        export,
        "Your data is being collected. GET /user/export will return the archive's URL in minutes.",
        headers={**NO_STORE, **shown},
    )
