"""POST /auth/refresh: exchange a refresh token for a new access token and refresh token."""

from datetime import datetime

from msgspec.structs import replace

from geminichat import config
from geminichat.api import NO_STORE, Request, Response, endpoint, ok
from geminichat.domain import sessions as rules
from geminichat.domain.sessions import ENDED, Claims, OpenSession, RefreshRequest, RefreshToken
from geminichat.domain.times import parse
from geminichat.domain.tokens import Tokens
from geminichat.errors import AccountSuspended, Contended, TokenReused, Unauthorized
from geminichat.tables import sessions, users
from geminichat.tables.table import batch_get


@endpoint(public=True, errors=[AccountSuspended, TokenReused, Unauthorized])
def handler(request: Request) -> Response[Tokens]:
    """Answer 200 with new tokens; a repeated request within 20 s gets the same refresh token."""
    spent = RefreshToken.read(request.body(RefreshRequest).refresh_token)

    session = _refresh(spent, request.now)
    return ok(request.tokens(session), "The tokens were refreshed.", headers=NO_STORE)


def _refresh(token: RefreshToken, now: datetime) -> OpenSession:
    """Return the session with its next refresh token.

    If the token was spent within the last 20 s, the next token is the same as before. If a genuine
    token was spent earlier, the session ends. Raises TokenReused.
    """
    signing = config.signing_keys()
    for _ in range(2):
        user, session = batch_get(
            users.key_of(token.user_id), sessions.key_of(token.user_id, token.session_id)
        )
        if session is None or not token.is_of_family(session.family_hash):
            raise Unauthorized(ENDED)
        users.require_session(user, token.session_id, now)
        opened = OpenSession(
            refresh=token,
            issued_at=now,
            expires_at=int(session.expires_at),
            devices_since=int(user.devices_since),
        )
        if not token.has_secret(session.secret_hash):
            break
        if opened.expires_at <= now.timestamp():
            raise Unauthorized(ENDED)
        following = token.derive_next(signing.keys[signing.current])
        if sessions.spend(session, token, following, signing.current, now):
            expires_at = rules.expiry(parse(session.created_at), now)
            return replace(opened, refresh=following, expires_at=expires_at)
    else:
        raise Contended()

    spent_at = sessions.find_spent_at(session, token, now)
    key = signing.keys.get(session.kid or "")
    if spent_at and key:
        return replace(opened, refresh=token.derive_next(key), issued_at=spent_at)
    users.end_session(Claims(token.user_id, token.session_id), now)
    raise TokenReused()
