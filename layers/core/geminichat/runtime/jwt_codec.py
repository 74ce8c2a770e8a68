"""JSON Web Tokens (RFC 7519) signed with HS256; the algorithm is pinned (RFC 8725)."""

import base64
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from geminichat.runtime import trimmed_imports

with trimmed_imports.trim_pyjwt():
    import jwt

ALGORITHM = "HS256"


class InvalidToken(ValueError):
    """The token was not signed by one of the keys, or a claim is missing or wrong."""


class _Header(msgspec.Struct):
    kid: str


def encode(claims: Mapping[str, Any], kid: str, key: bytes) -> str:
    """Return a token with the claims, signed with the key, and with `kid` in its header."""
    return jwt.encode(dict(claims), key, algorithm=ALGORITHM, headers={"kid": kid})


def decode(
    token: str, keys: Mapping[str, bytes], *, issuer: str, audience: str, required: Sequence[str]
) -> Mapping[str, Any]:
    """Return the claims of a token that one of the keys signed. Raises InvalidToken.

    The key is chosen by `kid` from the given keys only; algorithm, issuer and audience are pinned
    (RFC 8725, 3.1, 3.8, 3.9). The caller checks the times.
    """
    try:
        key = keys.get(_kid(token))
        if key is None:
            raise InvalidToken("The key is unknown.")
        return _verify(token, key, issuer, audience, tuple(required))
    except (jwt.InvalidTokenError, msgspec.DecodeError, TypeError, RecursionError) as error:
        raise InvalidToken("The token is invalid.") from error
    except ValueError as error:
        raise InvalidToken("The token cannot be read.") from error


@functools.lru_cache(maxsize=256)
def _verify(
    token: str, key: bytes, issuer: str, audience: str, required: tuple[str, ...]
) -> Mapping[str, Any]:
    """Return the claims of a token that the key signed. Raises jwt.InvalidTokenError.

    The result is cached: clients send the same token with many requests, and PyJWT takes a fifth of
    the time of a warm call. The caller still chooses the key and checks the expiry each time.
    """
    claims: Mapping[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[ALGORITHM],
        issuer=issuer,
        audience=audience,
        options={"require": list(required), "verify_exp": False, "verify_iat": False},
    )
    return claims


def _kid(token: str) -> str:
    """Return a token's `kid`. PyJWT is not used: it would parse the whole token twice."""
    header = token.partition(".")[0]
    decoded = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    return msgspec.json.decode(decoded, type=_Header).kid
