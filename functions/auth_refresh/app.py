"""POST /auth/refresh: exchange a refresh token for a new access token and refresh token."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.sessions import RefreshRequest, RefreshToken
from geminichat.domain.tokens import Tokens
from geminichat.errors import AccountSuspended, TokenReused, Unauthorized
from geminichat.operations import refresh_session


@endpoint(public=True, errors=[AccountSuspended, TokenReused, Unauthorized])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with new tokens; a repeated request within 20 s gets the same refresh token."""
    spent = RefreshToken.read(request.body(RefreshRequest).refresh_token)

    session = refresh_session.refresh(spent, request.now)
    return ok(request.tokens(session), "The tokens were refreshed.", headers=NO_STORE)
