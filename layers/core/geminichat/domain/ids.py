"""Identifiers: opaque strings on the wire, checked here before any table is asked for one.

A user is `u_…`, a room `r_…`, a session `s_…`: 128 random bits in lower-case base32. A message is
its room and its place in it, so that one read finds it.
"""

import base64
import re
import secrets

from geminichat.errors import NotFound

_RANDOM = re.compile(r"[a-z2-7]{26}")
_SEQ = re.compile(r"[1-9][0-9]{0,14}")


def new(kind: str) -> str:
    """Return a new identifier, such as `u_…` for kind `u`."""
    return f"{kind}_{base64.b32encode(secrets.token_bytes(16)).decode().rstrip('=').lower()}"


def known(kind: str, text: str) -> str:
    """Return `text` if it has the form of such an identifier. Raises NotFound."""
    prefix, _, rest = text.partition("_")
    if prefix != kind or not _RANDOM.fullmatch(rest):
        raise NotFound()
    return text


def message_id(chatroom_id: str, seq: int) -> str:
    """Return the identifier of the room's message number `seq`."""
    return f"m_{chatroom_id.removeprefix('r_')}_{seq}"


def message_seq(chatroom_id: str, text: str) -> int:
    """Return the place in the room that a message's identifier names. Raises NotFound."""
    prefix = f"m_{chatroom_id.removeprefix('r_')}_"
    seq = text.removeprefix(prefix)
    if not text.startswith(prefix) or not _SEQ.fullmatch(seq):
        raise NotFound()
    return int(seq)
