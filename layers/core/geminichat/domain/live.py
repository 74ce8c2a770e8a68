"""Live replies: the growing text of a reply, and the frames that show the text.

Frames may be lost, repeated or reordered. Offsets count UTF-16 code units, as in JavaScript's
strings.
"""

from collections.abc import Sequence

import msgspec

MAX_FRAME = 24 * 1024
"""Bytes of the largest frame; API Gateway closes the connection if a frame exceeds 32 KB."""


class _Frame(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="type"):
    pass


class TextFrame(_Frame, frozen=True, kw_only=True, tag="text"):
    """The text of an attempt from an offset on."""

    message_id: str
    attempt: int
    start: int = msgspec.field(name="from")
    text: str


class LookFrame(_Frame, frozen=True, tag="look"):
    """The text is too large for a frame: fetch the message."""

    message_id: str


class AgainFrame(_Frame, frozen=True, kw_only=True, tag="again"):
    """A new attempt has begun: its text replaces the text of all earlier attempts."""

    message_id: str
    attempt: int


class EndedFrame(_Frame, frozen=True, kw_only=True, tag="ended"):
    """The prompt has ended with this status: fetch the message."""

    message_id: str
    status: str


class RoomFrame(_Frame, frozen=True, kw_only=True, tag="room"):
    """The room has changed, for example its title: fetch the room."""

    chatroom_id: str


type PromptFrame = TextFrame | LookFrame | AgainFrame | EndedFrame
type Frame = PromptFrame | RoomFrame


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """The text so far of a reply that is being generated, from an offset on."""

    attempt: int
    start: int = msgspec.field(name="from")
    text: str


class Piece(msgspec.Struct, frozen=True):
    """A stored part of an attempt's text; the part ends where the next piece begins."""

    start: int
    text: str


class GrowingText:
    """An attempt's text as its worker stores it in pieces and shows it in frames."""

    def __init__(self, message_id: str, attempt: int) -> None:
        self._message_id, self._attempt = message_id, attempt
        self._last = Piece(0, "")
        self._fresh: list[str] = []
        """The text after the last stored piece."""
        self.size = 0
        """The number of characters of the attempt's text so far."""

    def add(self, text: str) -> None:
        self._fresh.append(text)
        self.size += len(text)

    def next_piece(self) -> Piece | None:
        """Return the piece to store now, or None if there is no new text."""
        if not self._fresh:
            return None
        self._fresh = ["".join(self._fresh)]
        return Piece(self._last.start + utf16_length(self._last.text), self._fresh[0])

    def note_stored(self, piece: Piece) -> None:
        """Mark a piece as stored; text may have been added since `next_piece`."""
        self._last = piece
        del self._fresh[0]

    def frame(self) -> TextFrame:
        """Return the frame to send now: the last stored piece and the text after it."""
        return TextFrame(
            message_id=self._message_id,
            attempt=self._attempt,
            start=self._last.start,
            text=self._last.text + "".join(self._fresh),
        )


def join(attempt: int, pieces: Sequence[Piece], start: int) -> Partial:
    """Return an attempt's text from `start` on; a `start` beyond the text counts as the text's end.

    The first piece must begin at `start` or before.
    """
    first = pieces[0].start if pieces else 0
    text = "".join(piece.text for piece in pieces)
    start = min(start, first + utf16_length(text))
    return Partial(attempt=attempt, start=start, text=skip_units(text, start - first))


def encode(frame: Frame) -> bytes:
    """Return a frame as it is sent; a text that does not fit into a frame becomes a LookFrame."""
    content = msgspec.json.encode(frame)
    if len(content) > MAX_FRAME and isinstance(frame, TextFrame):
        return msgspec.json.encode(LookFrame(frame.message_id))
    return content


def utf16_length(text: str) -> int:
    """Return the number of a text's UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def skip_units(text: str, units: int) -> str:
    """Return the text without its first `units` UTF-16 code units, which form whole characters."""
    if text.isascii():
        return text[units:]
    return text.encode("utf-16-le")[2 * units :].decode("utf-16-le", errors="ignore")
