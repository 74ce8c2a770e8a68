"""Access tokens: JWTs that name a user and a session, valid for 15 minutes."""

from collections.abc import Mapping
from datetime import datetime

from geminichat.domain import ids
from geminichat.domain.sessions import ACCESS_LIFETIME, EXPIRED, Claims
from geminichat.errors import Unauthorized
from geminichat.runtime import jwt_codec

ISSUER = "geminichat"
AUDIENCE = "geminichat-api"
CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp", "jti"]


class Expired(Unauthorized):
    """The access token is genuine but has expired; `session` is the session that it names."""

    def __init__(self, session: Claims) -> None:
        super().__init__(EXPIRED)
        self.session = session


def issue(session: Claims, kid: str, key: bytes, now: datetime, token_id: str | None = None) -> str:
    """Return a signed access token of a session, valid from `now`."""
    issued = int(now.timestamp())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": session.user_id,
        "sid": session.session_id,
        "iat": issued,
        "exp": issued + int(ACCESS_LIFETIME.total_seconds()),
        "jti": token_id or ids.new("t"),
    }
    return jwt_codec.encode(claims, kid, key)


def verify(token: str, keys: Mapping[str, bytes], now: datetime) -> Claims:
    """Return the session that a valid token names. Raises Unauthorized for any other token."""
    try:
        claims = jwt_codec.decode(token, keys, issuer=ISSUER, audience=AUDIENCE, required=CLAIMS)
    except jwt_codec.InvalidToken as error:
        raise Unauthorized() from error
    expires, user_id, session_id = claims["exp"], claims["sub"], claims["sid"]
    is_valid = isinstance(user_id, str) and isinstance(session_id, str)
    if not is_valid or not isinstance(expires, int):
        raise Unauthorized()
    session = Claims(user_id=user_id, session_id=session_id)
    if now.timestamp() >= expires:
        raise Expired(session)
    return session
