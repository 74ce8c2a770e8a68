"""The rule by which a client (the reader) shows a live reply, as the API's documents describe it.

Tests compare the console, and the examples in functions/docs_asset, with this rule.
"""

import msgspec

from geminichat.domain import live
from geminichat.domain.live import AgainFrame, EndedFrame, Frame, LookFrame, Partial, PromptFrame


class Shown(msgspec.Struct, frozen=True):
    """A reader's view of a reply: the attempt, and the text so far."""

    attempt: int = 0
    text: str = ""


class Fetch(msgspec.Struct, frozen=True):
    """A reader's request for the message and for its text from this offset on."""

    start: int


def read(shown: Shown, frame: PromptFrame | Partial) -> Shown | Fetch:
    """Apply a frame or a fetched message; return the new view, or the fetch that must follow.

    A reader also fetches when it opens a connection and after five seconds without a frame. A
    reader ignores the frames of a reply that it has fetched whole.
    """
    length = live.utf16_length(shown.text)
    match frame:
        case LookFrame() | EndedFrame():
            return Fetch(length)
        case AgainFrame(attempt=attempt):
            return Shown(attempt) if attempt > shown.attempt else shown
    if frame.attempt < shown.attempt:
        return shown
    is_newer = frame.attempt > shown.attempt
    have = "" if is_newer else shown.text
    if frame.start > (0 if is_newer else length):
        return Fetch(0 if is_newer else length)
    text = beginning(have, frame.start) + frame.text
    return Shown(frame.attempt, text) if is_newer or len(text) > len(have) else shown


def decode(content: bytes | str) -> Frame | None:
    """Return a received frame; None for a type that this release does not know."""
    kind: _Kind = msgspec.json.decode(content, type=_Kind)
    if kind.type not in ("text", "look", "again", "ended", "room"):
        return None
    frame: Frame = msgspec.json.decode(content, type=Frame)
    return frame


class _Kind(msgspec.Struct):
    type: str


def beginning(text: str, units: int) -> str:
    """Return a text's first UTF-16 code units, but no half of a surrogate pair."""
    if text.isascii():
        return text[:units]
    return text.encode("utf-16-le")[: 2 * units].decode("utf-16-le", errors="ignore")
