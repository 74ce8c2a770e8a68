"""Device tokens: a proof that a device has logged in to an account before, and nothing else.

They are the "device cookies" that OWASP describes. Their holder is counted on its own, so that
wrong passwords and codes of strangers do not slow it down. A token is not kept anywhere: it
carries a keyed hash over the user and the device.
"""

import hmac
import re
from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

type DeviceToken = Annotated[str, Meta(max_length=200)]


def token_of(user_id: str, session_id: str, key: bytes) -> str:
    """Return the token of the device on which this session of the user began."""
    return _token(f"d_{session_id.removeprefix('s_')}", user_id, key)


def device_of(token: str | None) -> str | None:
    """Return the device that a token names, genuine or not; None if it has no token's form."""
    found = re.fullmatch(r"(d_[a-z2-7]{26})\.[0-9a-f]{64}", token or "", re.ASCII)
    return found[1] if found else None


def is_genuine(token: str, user_id: str, keys: Iterable[bytes]) -> bool:
    """Return whether the token was issued to a device that has logged in as the user."""
    device_id = device_of(token)
    return device_id is not None and any(
        hmac.compare_digest(token, _token(device_id, user_id, key)) for key in keys
    )


def _token(device_id: str, user_id: str, key: bytes) -> str:
    derived = hmac.digest(key, b"geminichat device", "sha256")
    return f"{device_id}.{hmac.digest(derived, f'{user_id} {device_id}'.encode(), 'sha256').hex()}"
