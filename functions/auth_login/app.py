"""POST /auth/login: a password for a session's tokens."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import hashing
from geminichat.domain.accounts import Credentials
from geminichat.domain.tokens import Tokens
from geminichat.errors import InvalidCredentials, TooManyRequests
from geminichat.operations import accounts
from geminichat.tables import sessions
from geminichat.upstash import login_throttle


@endpoint(public=True, errors=[InvalidCredentials, TooManyRequests])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with tokens; whether the account exists changes neither the work nor the 401."""
    given = request.body(Credentials)

    with login_throttle.counted(given.identity, request.source) as guess:
        user = accounts.find_by(given.identity)
        password_hash = user.password_hash if user else None
        if not hashing.matches(given.password, password_hash) or user is None:
            raise InvalidCredentials()

    refresh = sessions.begin(user.user_id, int(user.session_epoch), request.now)
    return ok(request.tokens(refresh), "Logged in.", headers={**NO_STORE, **guess.headers})
