"""Signed values in Redis: each is valid only for the user and the purpose of its signature."""

import hmac

from geminichat import config


def sign(context: str, text: str) -> str:
    """Return the text with a MAC over the text and `context`, which names a purpose and a user."""
    signing = config.signing_keys()
    return f"{signing.current} {_mac(signing.keys[signing.current], context, text)} {text}"


def verify(context: str, value: str) -> str | None:
    """Return the text of a value that was signed for this context, or None for any other value."""
    kid, _, rest = value.partition(" ")
    mac, _, text = rest.partition(" ")
    key = config.signing_keys().keys.get(kid)
    if key and hmac.compare_digest(mac.encode(), _mac(key, context, text).encode()):
        return text
    return None


def _mac(key: bytes, context: str, text: str) -> str:
    derived = hmac.digest(key, b"geminichat redis", "sha256")
    return hmac.digest(derived, context.encode() + b"\0" + text.encode(), "sha256").hex()
