"""Identifiers, and fingerprints of requests.

Identifiers are opaque to clients, and are validated before any table is read.

A user is `u_…`, a room `r_…`, a session `s_…`: 128 random bits in lower-case base32. A message id
contains the room's id and the message's position, so that one read finds the message.
"""

import base64
import hashlib
import re
import secrets

from geminichat.errors import NotFound

_ROOM = r"r_[a-z2-7]{26}"
_SEQ = r"[1-9][0-9]{0,14}"


def new(kind: str) -> str:
    """Return a new identifier, such as `u_…` for kind `u`."""
    return f"{kind}_{base64.b32encode(secrets.token_bytes(16)).decode().rstrip('=').lower()}"


def parse_room(text: str) -> str:
    """Return `text` if it is a well-formed room id. Raises NotFound."""
    if not re.fullmatch(_ROOM, text):
        raise NotFound()
    return text


def message_id(chatroom_id: str, seq: int) -> str:
    """Return the identifier of the room's message at position `seq`."""
    return f"m_{chatroom_id.removeprefix('r_')}_{seq}"


def message_seq(chatroom_id: str, text: str) -> int:
    """Return the position in the room that a message id names. Raises NotFound."""
    prefix = f"m_{chatroom_id.removeprefix('r_')}_"
    seq = text.removeprefix(prefix)
    if not text.startswith(prefix) or not re.fullmatch(_SEQ, seq):
        raise NotFound()
    return int(seq)


def prompt_seq(chatroom_id: str, text: str) -> int:
    """Return the position of the prompt in the turn that a message id names. Raises NotFound.

    The id may be that of the prompt or of its reply: prompts have odd positions.
    """
    seq = message_seq(chatroom_id, text)
    return seq if seq % 2 else seq - 1


def fingerprint(*parts: str) -> str:
    """Return a digest of a request's parts; ("ab", "c") and ("a", "bc") have different digests."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part.encode())
    return digest.hexdigest()
