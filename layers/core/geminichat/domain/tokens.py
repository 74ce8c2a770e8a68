"""The tokens that a session's client holds."""

from datetime import datetime
from typing import Literal

import msgspec

from geminichat.domain.sessions import ACCESS_LIFETIME, OpenSession


class Tokens(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session's access token and refresh token, with lifetimes in seconds, and a device token."""

    token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int
    refresh_token: str
    refresh_expires_in: int
    device_token: str

    @classmethod
    def pair(
        cls, session: OpenSession, access_token: str, device_token: str, now: datetime
    ) -> "Tokens":
        """Return the tokens with their remaining lifetimes, none longer than the session's."""
        moment = int(now.timestamp())
        access_until = int((session.issued_at + ACCESS_LIFETIME).timestamp())
        return cls(
            token=access_token,
            expires_in=min(access_until, session.expires_at) - moment,
            refresh_token=session.refresh.text(),
            refresh_expires_in=session.expires_at - moment,
            device_token=device_token,
        )
