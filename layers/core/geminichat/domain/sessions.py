"""Sessions: one family of refresh tokens, each spent when it is used.

A refresh token names its session and carries two secrets: the family's, the same in every token of
the session, and its own. Tables keep a hash of each. Whoever knows the family's secret has held a
genuine token: if that token's own secret is not the newest, it was spent before, so it was stolen
or copied and the session ends. A token without the family's secret is junk and ends nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Self

import msgspec
from msgspec import Meta

from geminichat.domain import ids
from geminichat.errors import Unauthorized

ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
"""Of an access token, and of a refresh token, which is replaced at each use."""

ENDED = "The session has ended. Log in again."

_FORM = r"(u_[a-z2-7]{26})\.(s_[a-z2-7]{26})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})"


class Claims(msgspec.Struct, frozen=True):
    """Who a request speaks for, and in which session."""

    user_id: str
    session_id: str


class RefreshToken(msgspec.Struct, frozen=True, kw_only=True):
    """A refresh token, opened."""

    user_id: str
    session_id: str
    family: str
    secret: str

    @classmethod
    def first(cls, user_id: str, random: Callable[[int], str] = secrets.token_urlsafe) -> Self:
        """Return the first token of a new session."""
        return cls(user_id=user_id, session_id=ids.new("s"), family=random(32), secret=random(32))

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the token that a client sent. Raises Unauthorized for what has not its form."""
        found = re.fullmatch(_FORM, text, re.ASCII)
        if not found:
            raise Unauthorized(ENDED)
        user_id, session_id, family, secret = found.groups()
        return cls(user_id=user_id, session_id=session_id, family=family, secret=secret)

    def next(self, random: Callable[[int], str] = secrets.token_urlsafe) -> Self:
        """Return the token that takes this one's place."""
        return msgspec.structs.replace(self, secret=random(32))

    def text(self) -> str:
        """Return the token as a client holds it."""
        return f"{self.user_id}.{self.session_id}.{self.family}.{self.secret}"

    @property
    def family_hash(self) -> str:
        """What tables keep of the family's secret: 256 random bits need no slow hash."""
        return hashlib.sha256(self.family.encode()).hexdigest()

    @property
    def secret_hash(self) -> str:
        """What tables keep of the token's own secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def is_of(self, family_hash: str) -> bool:
        """Say whether the token is, or was, a genuine one of the session with this hash."""
        return hmac.compare_digest(self.family_hash, family_hash)

    def is_newest(self, secret_hash: str) -> bool:
        """Say whether the token is the one that was not used yet."""
        return hmac.compare_digest(self.secret_hash, secret_hash)


def expiry(now: datetime) -> int:
    """Return the epoch second at which a session that was used at `now` ends unused."""
    return int((now + REFRESH_LIFETIME).timestamp())


def is_alive(*, epoch: int, user_epoch: int, expires_at: int, now: datetime) -> bool:
    """Say whether a session goes on: begun under the user's present epoch, and not expired."""
    return epoch == user_epoch and now.timestamp() < expires_at


class Renewal(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A refresh token that asks for the next pair."""

    refresh_token: Annotated[str, Meta(max_length=2_000)]


class Logout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sessions are to end: this one, or all of the user's."""

    everywhere: bool = False
