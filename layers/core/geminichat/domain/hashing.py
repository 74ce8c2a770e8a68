"""Hash and verify passwords with argon2id.

A password is normalised first (NFC, RFC 8265), because keyboards compose the same letter from
different characters.
"""

import unicodedata

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
"""OWASP's Password Storage Cheat Sheet: argon2id, 19 MiB, two passes, one lane."""


def hash_password(password: str) -> str:
    """Return the password's argon2id hash in PHC form."""
    return _hasher.hash(unicodedata.normalize("NFC", password))


DUMMY = (
    "$argon2id$v=19$m=19456,t=2,p=1$vQMsSVPmBwDacugbuevjuQ$"
    "u7AW6+0U/eq0H8tbqNGPwfObP7gZ9ioGmknD7w+Zsko"
)
"""The hash of a random password that nobody knows, with the same cost as every other hash."""


def is_match(password: str, hashed: str | None) -> bool:
    """Return whether the password has this hash. A call without a hash takes the same time."""
    try:
        _hasher.verify(hashed or DUMMY, unicodedata.normalize("NFC", password))
    except (VerificationError, InvalidHashError):
        return False
    return hashed is not None
