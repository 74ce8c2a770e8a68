"""POST /auth/refresh: exchange a refresh token for the next pair; the token is spent."""

from datetime import datetime

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain.sessions import ENDED, Claims, RefreshRequest, RefreshToken
from geminichat.domain.tokens import Tokens
from geminichat.errors import Contended, TokenReused, Unauthorized
from geminichat.tables import sessions, users
from geminichat.tables.table import batch_get


@endpoint(public=True, errors=[TokenReused, Unauthorized])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with new tokens, or with those that replaced the token within the last 20 s."""
    spent = RefreshToken.read(request.body(RefreshRequest).refresh_token)

    refresh, issued_at = _exchange(spent, request.now)
    return ok(request.tokens(refresh, issued_at), "The tokens were refreshed.", headers=NO_STORE)


def _exchange(token: RefreshToken, now: datetime) -> tuple[RefreshToken, datetime]:
    """Return the token that replaces this one, and the time at which it did.

    Raises Unauthorized, and TokenReused for a genuine token that was spent earlier: that ends the
    session.
    """
    claims, signing = Claims(token.user_id, token.session_id), config.signing_keys()
    for _ in range(2):
        user, session = batch_get(
            users.key_of(token.user_id), sessions.key_of(token.user_id, token.session_id)
        )
        if session is None or not token.is_of_family(session.family_hash):
            raise Unauthorized(ENDED)
        users.require_session(user, token.session_id, now)
        if not token.has_secret(session.secret_hash):
            break
        if session.expires_at <= now.timestamp():
            raise Unauthorized(ENDED)
        following = token.next(signing.keys[signing.current])
        if sessions.spend(session, token, following, signing.current, now):
            return following, now
    else:
        raise Contended()

    spent_at = sessions.find_spent_at(session, token, now)
    key = signing.keys.get(session.kid or "")
    if spent_at and key:
        return token.next(key), spent_at
    users.end_session(claims, now)
    raise TokenReused()
