"""POST /auth/refresh: exchange a refresh token for the next pair; the token is spent."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.sessions import RefreshRequest, RefreshToken
from geminichat.domain.tokens import Tokens
from geminichat.errors import AccountSuspended, TokenReused, Unauthorized
from geminichat.operations import refresh_session


@endpoint(public=True, errors=[AccountSuspended, TokenReused, Unauthorized])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with new tokens, or with those that replaced the token within the last 20 s."""
    spent = RefreshToken.read(request.body(RefreshRequest).refresh_token)

    session = refresh_session.refresh(spent, request.now)
    return ok(request.tokens(session), "The tokens were refreshed.", headers=NO_STORE)
