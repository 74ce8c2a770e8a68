"""The pair of tokens that a session's client holds."""

from typing import Literal

import msgspec

from geminichat.domain.sessions import ACCESS_LIFETIME, REFRESH_LIFETIME, RefreshToken


class Tokens(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session's newest pair of tokens, as the wire shows it; lifetimes in seconds."""

    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str
    refresh_expires_in: int

    @classmethod
    def pair(cls, access_token: str, refresh: RefreshToken) -> "Tokens":
        """Return the pair."""
        return cls(
            token=access_token,
            expires_in=int(ACCESS_LIFETIME.total_seconds()),
            refresh_token=refresh.text(),
            refresh_expires_in=int(REFRESH_LIFETIME.total_seconds()),
        )
