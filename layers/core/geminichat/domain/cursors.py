"""Cursors: opaque, signed positions in lists. A forged or foreign cursor is refused.

The signing key of cursors is derived from the signing key of tokens. A rotation replaces both.
"""

import base64
import binascii
import hmac

import msgspec

from geminichat.errors import InvalidRequest

MAC_BYTES = 16


def write(position: object, scope: str, kid: str, key: bytes) -> str:
    """Return an opaque cursor for a position, valid only for this scope (user and list)."""
    payload = msgspec.json.encode(position)
    tag = _mac(payload, scope, key)
    text = base64.urlsafe_b64encode(tag + payload).decode().rstrip("=")
    return f"{kid}.{text}"


def read[T](cursor: str, kind: type[T], scope: str, keys: dict[str, bytes]) -> T:
    """Return the position in a cursor. Raises InvalidRequest if it was not written for `scope`."""
    kid, _, text = cursor.partition(".")
    try:
        blob = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        tag, payload = blob[:MAC_BYTES], blob[MAC_BYTES:]
        if hmac.compare_digest(tag, _mac(payload, scope, keys[kid])):
            return msgspec.json.decode(payload, type=kind)
    except (KeyError, binascii.Error, ValueError, msgspec.DecodeError):
        pass
    raise InvalidRequest(
        "The parameter 'cursor' is not valid for this list. Omit 'cursor' for the first page."
    )


def _mac(payload: bytes, scope: str, key: bytes) -> bytes:
    derived = hmac.digest(key, b"geminichat cursor", "sha256")
    return hmac.digest(derived, scope.encode() + b"\0" + payload, "sha256")[:MAC_BYTES]
