"""Device tokens: a proof that a device has logged in to an account before, and nothing else.

OWASP describes them as "device cookies". A device with a token has its own limits, so that wrong
passwords and codes from strangers do not slow the device down. No table stores tokens: each
token contains a keyed hash over the user, the device and a time that the users table holds. A
reset or a change of the password updates that time, which invalidates all earlier tokens.
"""

import hmac
import re
from collections.abc import Iterable
from typing import Annotated, Self

import msgspec
from msgspec import Meta

type DeviceToken = Annotated[str, Meta(max_length=200)]


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """The device that a token names; the token may be forged."""

    user_id: str
    id: str
    token: str

    @classmethod
    def read(cls, token: str | None) -> Self | None:
        """Return the device that a token names; None if the text is not in the form of a token."""
        form = r"(u_[a-z2-7]{26})\.(d_[a-z2-7]{26})\.[0-9a-f]{64}"
        found = re.fullmatch(form, token or "", re.ASCII)
        return cls(user_id=found[1], id=found[2], token=found[0]) if found else None

    def is_genuine(self, since: int, keys: Iterable[bytes]) -> bool:
        """Return whether the token was issued to this user, and not before `since`."""
        return any(
            hmac.compare_digest(self.token, _token(self.user_id, self.id, since, key))
            for key in keys
        )


def token_of(user_id: str, session_id: str, since: int, key: bytes) -> str:
    """Return the token of the device on which this session of the user began."""
    return _token(user_id, f"d_{session_id.removeprefix('s_')}", since, key)


def _token(user_id: str, device_id: str, since: int, key: bytes) -> str:
    derived = hmac.digest(key, b"geminichat device", "sha256")
    digest = hmac.digest(derived, f"{user_id} {device_id} {since}".encode(), "sha256")
    return f"{user_id}.{device_id}.{digest.hex()}"
