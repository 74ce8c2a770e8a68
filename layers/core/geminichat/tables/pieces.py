"""The pieces table: the text of a reply while it is generated, piece by piece, for an hour.

Each attempt has a partition of its own, so a worker that lost its lease disturbs no other. A piece
begins where the one before it ends.
"""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import size

from geminichat.domain import live
from geminichat.domain.live import Partial
from geminichat.tables.table import Table, put_if

KEPT = timedelta(hours=1)

NEWEST = 10
"""Pieces that are read first: a reader who knows the text so far lacks no more, one per second."""


class Piece(Table):
    """The text of an attempt from an offset on, in UTF-16 code units, up to the next piece."""

    class Meta:
        setting = "PIECES_TABLE"

    attempt = UnicodeAttribute(hash_key=True)
    start = NumberAttribute(range_key=True, attr_name="from")
    text = UnicodeAttribute()
    expires_at = NumberAttribute()


def put_piece(
    chatroom_id: str, seq: int, attempt: int, start: int, text: str, now: datetime
) -> bool:
    """Store a piece; return False if a longer one from this offset on is stored already.

    A put that seems to have failed may take effect late, when its text has grown.
    """
    piece = Piece(
        _key(chatroom_id, seq, attempt),
        start,
        text=text,
        expires_at=int((now + KEPT).timestamp()),
    )
    return put_if(piece, Piece.text.does_not_exist() | (size(Piece.text) <= len(text.encode())))


def read_text(chatroom_id: str, seq: int, attempt: int, start: int) -> Partial:
    """Return the text of an attempt from an offset on, or from its end if that comes first."""
    found: list[tuple[int, str]] = []
    pieces = Piece.query(
        _key(chatroom_id, seq, attempt),
        scan_index_forward=False,
        consistent_read=True,
        page_size=NEWEST if start else None,
    )
    for piece in pieces:
        found.append((int(piece.start), piece.text))
        if piece.start <= start:
            break
    found.reverse()
    first = found[0][0] if found else 0
    text = "".join(piece for _, piece in found)
    start = min(start, first + live.utf16_length(text))
    return Partial(attempt=attempt, start=start, text=live.rest(text, start - first))


def _key(chatroom_id: str, seq: int, attempt: int) -> str:
    return f"{chatroom_id}:{seq}:{attempt}"
