"""The pieces table: the text of a reply while it is generated, in pieces that are kept for an hour.

Each attempt has its own partition, so a worker that lost its lease does not disturb the next
attempt. A piece begins where the previous piece ends.
"""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from geminichat.domain import live
from geminichat.domain.live import Partial, Piece
from geminichat.tables.table import Table, put_if

KEPT = timedelta(hours=1)

NEWEST = 10
"""Pieces per read: one piece is stored per second, so a poll usually requires one read."""


class StoredPiece(Table):
    """The text of an attempt from an offset on, in UTF-16 code units, up to the next piece."""

    class Meta:
        setting = "PIECES_TABLE"

    attempt = UnicodeAttribute(hash_key=True)
    start = NumberAttribute(range_key=True, attr_name="from")
    text = UnicodeAttribute()
    length = NumberAttribute()
    expires_at = NumberAttribute()


def put_piece(chatroom_id: str, seq: int, attempt: int, piece: Piece, now: datetime) -> None:
    """Store a piece, unless a longer one with the same offset is stored.

    A put that seems to have failed may take effect late, after a longer piece was stored.
    """
    stored = StoredPiece(
        _key(chatroom_id, seq, attempt),
        piece.start,
        text=piece.text,
        length=live.utf16_length(piece.text),
        expires_at=int((now + KEPT).timestamp()),
    )
    put_if(stored, StoredPiece.length.does_not_exist() | (StoredPiece.length <= stored.length))


def read_text(chatroom_id: str, seq: int, attempt: int, start: int) -> Partial:
    """Return an attempt's text from `start` on; a `start` beyond the text means the text's end."""
    found: list[Piece] = []
    stored = StoredPiece.query(
        _key(chatroom_id, seq, attempt),
        scan_index_forward=False,
        consistent_read=True,
        page_size=NEWEST if start else None,
    )
    for piece in stored:
        found.append(Piece(int(piece.start), piece.text))
        if piece.start <= start:
            break
    return live.join(attempt, found[::-1], start)


def _key(chatroom_id: str, seq: int, attempt: int) -> str:
    return f"{chatroom_id}:{seq}:{attempt}"
