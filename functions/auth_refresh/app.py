"""POST /auth/refresh: a refresh token, spent now, for the next pair."""

from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.sessions import RefreshToken, Renewal
from geminichat.domain.tokens import Tokens
from geminichat.errors import TokenReused, Unauthorized
from geminichat.tables import users


@endpoint(public=True, errors=[TokenReused, Unauthorized])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with new tokens; a token that was spent before ends its session."""
    spent = RefreshToken.read(request.body(Renewal).refresh_token)

    refresh = users.refresh_session(spent, request.now)
    return ok(request.tokens(refresh), "Here are new tokens.", headers=NO_STORE)
