"""Signing keys, and their rotation; a rotation invalidates no token.

SSM holds the keys as JSON: `{"current": kid, "keys": {kid: base64url}}`. During a rotation there
are two keys, and the fields `previous` and `currentFrom`: every sandbox knows the new key before a
token is signed with it, and the old key stays until every token that it signed has expired.
"""

import base64
from datetime import datetime, timedelta
from typing import Self

import msgspec

from geminichat.domain import times
from geminichat.domain.sessions import ACCESS_LIFETIME

SPREAD = timedelta(minutes=10)
"""The time from adding a key to signing with it: twice as long as a sandbox keeps a secret."""

LONGEST_USE = ACCESS_LIFETIME + SPREAD
"""The time for which the old key is needed after the switch to the new key.

This is the lifetime of a token plus the delay of the slowest sandbox.
"""


class SigningKeys(msgspec.Struct, frozen=True):
    """The keys in use: `current` is the id of the key that signs, and all keys verify."""

    current: str
    keys: dict[str, bytes]


class StoredKeys(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The keys as SSM holds them."""

    current: str
    keys: dict[str, str]
    previous: str | None = None
    current_from: str | None = None

    @classmethod
    def create(cls, kid: str, key: bytes) -> Self:
        """Return the keys of a new deployment."""
        return cls(current=kid, keys={kid: _text(key)})

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse the keys as SSM stores them. Raises ValueError."""
        stored = msgspec.json.decode(text, type=cls)
        if stored.current not in stored.keys or not all(map(_bytes, stored.keys.values())):
            raise ValueError("The signing keys are malformed.")
        return stored

    def text(self) -> str:
        """Return the keys as SSM stores them."""
        return msgspec.json.encode(self).decode()

    def select(self, now: datetime) -> SigningKeys:
        """Return the keys in use at `now`."""
        early = self.current_from is not None and times.text(now) < self.current_from
        signer = self.previous if early and self.previous in self.keys else self.current
        return SigningKeys(
            current=signer or self.current,
            keys={kid: _bytes(key) for kid, key in self.keys.items()},
        )

    def add(self, kid: str, key: bytes, now: datetime) -> Self:
        """Return the keys with a new key, which signs after every sandbox has read it."""
        return msgspec.structs.replace(
            self,
            current=kid,
            keys={self.current: self.keys[self.current], kid: _text(key)},
            previous=self.current,
            current_from=times.text(now + SPREAD),
        )

    def removable_from(self) -> datetime | None:
        """Return the time when the previous key can be removed; None if there is no such key."""
        if self.previous is None or self.current_from is None:
            return None
        return times.parse(self.current_from) + LONGEST_USE

    def remove_previous(self) -> Self:
        """Return the keys without the previous one."""
        return type(self)(current=self.current, keys={self.current: self.keys[self.current]})


def _text(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode()


def _bytes(text: str) -> bytes:
    either = text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4)
    key = base64.b64decode(either, altchars=b"-_", validate=True)
    if len(key) < 32:
        raise ValueError("A signing key must have at least 32 bytes (RFC 7518, 3.2).")
    return key
