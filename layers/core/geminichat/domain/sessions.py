"""Sessions: each is a family of refresh tokens, and a token is spent when it is used.

A refresh token names its session and contains two secrets: the family's secret, which all tokens of
the session share, and its own secret. The sessions table stores a hash of each secret. A token
with the family's secret is genuine. If its own secret is not the current one, the token was spent
before. It may have been stolen, so the session ends. A token without the family's secret ends
nothing.

The next token's secret is a keyed hash of the spent token. So a spent token that is sent again
within seconds (two tabs, a lost answer) yields the same pair again, although no table stores
this pair.
"""

import base64
import hashlib
import hmac
import re
import secrets
from datetime import datetime, timedelta
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from geminichat.domain import ids
from geminichat.errors import Unauthorized

ACCESS_LIFETIME = timedelta(minutes=15)
"""The lifetime of an access token."""
REFRESH_LIFETIME = timedelta(days=30)
"""The lifetime of a refresh token, which is replaced at each use."""
SESSION_LIFETIME = timedelta(days=90)
"""The time after which a session ends, however often it was used."""
REUSE_GRACE = timedelta(seconds=20)
"""The time for which a spent token yields the pair that replaced it."""
MOST_SESSIONS = 20
"""Sessions per user; a new session replaces the oldest."""

ENDED = "The session has ended. Log in again."
EXPIRED = "The access token has expired. Get a new one from POST /auth/refresh."

_FORM = r"(u_[a-z2-7]{26})\.(s_[a-z2-7]{26})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})"


class Claims(msgspec.Struct, frozen=True):
    """The user and the session of a request."""

    user_id: str
    session_id: str


class OptionalCaller(Claims, frozen=True, kw_only=True):
    """The user and the session of a token on a public route; the token may have expired."""

    is_expired: bool = False


class RefreshToken(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed refresh token."""

    user_id: str
    session_id: str
    family: str
    secret: str

    @classmethod
    def generate(cls, user_id: str) -> Self:
        """Return the first token of a new session."""
        family, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        return cls(user_id=user_id, session_id=ids.new("s"), family=family, secret=secret)

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse the token that a client sent. Raises Unauthorized for a malformed text."""
        found = re.fullmatch(_FORM, text, re.ASCII)
        if not found:
            raise Unauthorized(ENDED)
        user_id, session_id, family, secret = found.groups()
        return cls(user_id=user_id, session_id=session_id, family=family, secret=secret)

    def derive_next(self, key: bytes) -> Self:
        """Return the token that replaces this token; the same key always gives the same token."""
        derived = hmac.digest(key, b"geminichat refresh", "sha256")
        secret = hmac.digest(derived, self.text().encode(), "sha256")
        encoded = base64.urlsafe_b64encode(secret).decode().rstrip("=")
        return msgspec.structs.replace(self, secret=encoded)

    def text(self) -> str:
        """Return the token as a client holds it."""
        return f"{self.user_id}.{self.session_id}.{self.family}.{self.secret}"

    @property
    def family_hash(self) -> str:
        """The hash of the family's secret; 256 random bits need no slow hash."""
        return hashlib.sha256(self.family.encode()).hexdigest()

    @property
    def secret_hash(self) -> str:
        """The hash of the token's own secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    @property
    def access_token_id(self) -> str:
        """The `jti` of the access token that is issued together with this refresh token."""
        digest = hashlib.sha256(f"access {self.secret}".encode()).digest()
        return f"t_{base64.b32encode(digest[:16]).decode().rstrip('=').lower()}"

    def is_of_family(self, family_hash: str) -> bool:
        """Return whether the token, current or spent, belongs to the session with this hash."""
        return hmac.compare_digest(self.family_hash, family_hash)

    def has_secret(self, secret_hash: str | None) -> bool:
        """Return whether this is the hash of the token's own secret."""
        return secret_hash is not None and hmac.compare_digest(self.secret_hash, secret_hash)


class OpenSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session, with the refresh token that its client gets."""

    refresh: RefreshToken
    issued_at: datetime
    """The time at which the pair of tokens was issued; a repeated refresh does not change it."""
    expires_at: int
    """The epoch second at which the refresh token expires; never later than the session ends."""
    devices_since: int
    """See `domain.devices`."""

    @classmethod
    def begin(cls, user_id: str, now: datetime, devices_since: int = 0) -> Self:
        """Return a new session of a user."""
        return cls(
            refresh=RefreshToken.generate(user_id),
            issued_at=now,
            expires_at=expiry(now, now),
            devices_since=devices_since,
        )


def expiry(began: datetime, now: datetime) -> int:
    """Return the epoch second at which a session ends if it is used now and never again."""
    return int(min(now + REFRESH_LIFETIME, began + SESSION_LIFETIME).timestamp())


def is_valid(began_at: int | None, now: datetime) -> bool:
    """Return whether a session exists and is not too old; `began_at` is an epoch second or None."""
    return began_at is not None and now.timestamp() < began_at + SESSION_LIFETIME.total_seconds()


class RefreshRequest(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A refresh token to exchange for a new pair of tokens."""

    refresh_token: Annotated[str, Meta(max_length=2_000)]


class Logout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sessions to end: the current one, or all sessions of the user."""

    everywhere: bool = False
