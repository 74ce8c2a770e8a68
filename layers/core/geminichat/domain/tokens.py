"""The tokens that a session's client holds."""

from typing import Literal

import msgspec

from geminichat.domain.sessions import ACCESS_LIFETIME, REFRESH_LIFETIME, RefreshToken


class Tokens(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session's current pair of tokens, with lifetimes in seconds, and its device's token."""

    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    device_token: str

    @classmethod
    def pair(cls, access_token: str, refresh: RefreshToken, device_token: str) -> "Tokens":
        """Return the pair."""
        return cls(
            token=access_token,
            expires_in=int(ACCESS_LIFETIME.total_seconds()),
            refresh_token=refresh.text(),
            refresh_expires_in=int(REFRESH_LIFETIME.total_seconds()),
            device_token=device_token,
        )
