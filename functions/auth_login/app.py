"""POST /auth/login: exchange an identity and its password for a session's tokens."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import hashing
from geminichat.domain.accounts import Credentials
from geminichat.domain.tokens import Tokens
from geminichat.errors import AccountSuspended, InvalidCredentials, TooManyRequests
from geminichat.operations import login
from geminichat.tables import users


@endpoint(public=True, errors=[AccountSuspended, InvalidCredentials, TooManyRequests])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with tokens; a wrong password and an unknown account get the same 401."""
    given = request.body(Credentials)

    attempt = login.admit(given.identity, given.device_token, request.source, request.now)
    user = users.find(attempt.user_id)
    is_right = hashing.is_match(given.password, user.password_hash if user else None)
    if user is None or not is_right:
        raise login.reject(attempt)

    session = login.begin_session(attempt, user)
    return ok(request.tokens(session), "Logged in.", headers={**NO_STORE, **attempt.headers})
