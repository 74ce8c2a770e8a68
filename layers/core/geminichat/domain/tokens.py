"""Access tokens: JWTs as RFC 8725 wants them, with everything that can be pinned pinned."""

import base64
from datetime import datetime
from typing import Any, Literal

import msgspec

from geminichat.domain import ids
from geminichat.domain.sessions import ACCESS_LIFETIME, REFRESH_LIFETIME, Claims, RefreshToken
from geminichat.errors import Unauthorized
from geminichat.runtime import trimmed_imports


def _timegm(moment: Any) -> int:
    import calendar  # for claims that are a datetime: ours are seconds

    return calendar.timegm(moment)


with trimmed_imports.without(
    {"calendar": {"timegm": _timegm}, "jwt.jwks_client": {"PyJWKClient": None}},
):
    import jwt

ALGORITHM = "HS256"
ISSUER = "geminichat"
AUDIENCE = "geminichat-api"
CLAIMS = ["iss", "aud", "sub", "sid", "iat", "exp", "jti"]


_UNREADABLE = (msgspec.DecodeError, ValueError, TypeError, RecursionError)


class _Header(msgspec.Struct):
    kid: str


class Tokens(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session's newest pair of tokens, as the wire shows it; lifetimes in seconds."""

    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


def pair(refresh: RefreshToken, kid: str, key: bytes, now: datetime) -> Tokens:
    """Return the refresh token together with a new access token of its session."""
    return Tokens(
        token=issue(Claims(refresh.user_id, refresh.session_id), kid, key, now),
        expires_in=int(ACCESS_LIFETIME.total_seconds()),
        refresh_token=refresh.text(),
        refresh_expires_in=int(REFRESH_LIFETIME.total_seconds()),
    )


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
        key = keys.get(_kid(token))
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
    except (jwt.InvalidTokenError, *_UNREADABLE) as error:
        raise Unauthorized() from error
    if not isinstance(expires, int) or not isinstance(user_id, str):
        raise Unauthorized()
    if not isinstance(session_id, str):
        raise Unauthorized()
    if now.timestamp() >= expires:
        raise Unauthorized("The access token has expired. Get a new one from POST /auth/refresh.")
    return Claims(user_id=user_id, session_id=session_id)


def _kid(token: str) -> str:
    """Return the key that a token names; PyJWT would read all of the token twice for it."""
    header = token.partition(".")[0]
    read = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    return msgspec.json.decode(read, type=_Header).kid
