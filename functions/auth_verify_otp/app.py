"""POST /auth/verify-otp: exchange a code for a session's tokens, and create a user if none exists.

A new account replaces an unproven account with the identity. The unproven account is kept only if
the request has an access token of this account, or if the account has neither a password nor a
session.
"""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import accounts as texts
from geminichat.domain.accounts import GivenCode, LoggedIn
from geminichat.domain.codes import Purpose
from geminichat.errors import AccountSuspended, InvalidCode, TooManyRequests, Unauthorized
from geminichat.operations import accounts, notices, one_time_codes


@endpoint(public=True, errors=[AccountSuspended, InvalidCode, TooManyRequests, Unauthorized])
def handler(request: Request) -> Response[LoggedIn]:
    """Answer 200 with the user and tokens."""
    given = request.body(GivenCode)
    caller = request.optional_caller()

    proof = one_time_codes.verify(given, Purpose.LOGIN, request.source, request.now)
    login = accounts.log_in_by_code(proof, caller, request.source, request.now)
    notice = texts.restoration_notice(given.identity.kind)
    notices.send(login.account.id, login.restored_from, notice, request.now)
    logged_in = LoggedIn.of(login.account, request.tokens(login.session))
    return ok(logged_in, "Logged in.", headers=NO_STORE)
