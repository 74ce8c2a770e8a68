"""Access tokens: JWTs as RFC 8725 wants them, with everything that can be pinned pinned."""

from datetime import datetime, timedelta

import jwt
import msgspec

from geminichat.domain import ids
from geminichat.errors import Unauthorized

ALGORITHM = "HS256"
ISSUER = "geminichat"
AUDIENCE = "geminichat-api"
ACCESS_LIFETIME = timedelta(minutes=15)
CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp", "jti"]


class Claims(msgspec.Struct, frozen=True):
    """Who a request speaks for, and in which session."""

    user_id: str
    session_id: str


def issue(claims: Claims, kid: str, key: bytes, now: datetime) -> str:
    """Return a signed access token that holds for fifteen minutes from `now`."""
    issued = int(now.timestamp())
    return jwt.encode(
        {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": claims.user_id,
            "sid": claims.session_id,
            "iat": issued,
            "exp": issued + int(ACCESS_LIFETIME.total_seconds()),
            "jti": ids.new("t"),
        },
        key,
        algorithm=ALGORITHM,
        headers={"kid": kid},
    )


def verify(token: str, keys: dict[str, bytes], now: datetime) -> Claims:
    """Return what a token claims. Raises Unauthorized for any token that is not wholly ours.

    The key is chosen by `kid` from our own keys alone; algorithm, issuer and audience are pinned
    (RFC 8725, 3.1, 3.8, 3.9). The times are held against `now`.
    """
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise Unauthorized()
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": CLAIMS, "verify_exp": False, "verify_iat": False},
        )
        expires, user_id, session_id = claims["exp"], claims["sub"], claims["sid"]
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
        raise Unauthorized() from error
    if not isinstance(expires, int) or not isinstance(user_id, str):
        raise Unauthorized()
    if not isinstance(session_id, str):
        raise Unauthorized()
    if now.timestamp() >= expires:
        raise Unauthorized("The access token has expired. Get a new one from POST /auth/refresh.")
    return Claims(user_id=user_id, session_id=session_id)
