"""Trim, validate and shorten texts that people type or that Gemini generates."""

import re
from typing import Any

import msgspec

from geminichat.errors import InvalidField

_INVISIBLE = (
    r"\s\x00-\x1f\x7f-\x9f"  # white space and control characters
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\u2800"  # Braille without dots; the rest is Unicode's Default_Ignorable_Code_Point
)
_INVISIBLE_RUN = f"[{_INVISIBLE}]+"
_BLANK_LINES = r"\A(?:[^\S\n]*\n)+"

NO_NUL = r"^[^\x00]*$"
VISIBLE = rf"^[^\x00]*[^{_INVISIBLE}][^\x00]*$"
"""The JSON Schema pattern (ECMA-262) of a text with a visible character and without NUL."""


def trim(text: str, field: str) -> str:
    """Return the text without surrounding white space; "" if none of its characters is visible.

    Raises InvalidField for a NUL character, which many programs cannot display or store.
    """
    _refuse_nul(text, field)
    return "" if _is_invisible(text) else text.strip()


def trim_lines(text: str, field: str) -> str:
    """Trim the text as `trim` does, but keep the first line's indentation: the text may be code."""
    _refuse_nul(text, field)
    return "" if _is_invisible(text) else re.sub(_BLANK_LINES, "", text).rstrip()


class GeneratedText:
    """A generated text as it grows, trimmed as `trim_lines` does, without NUL characters.

    At any time the text so far is a prefix of the whole text. White space at the end is held back
    until more text follows, and invisible characters until a visible one follows. Only `size` bytes
    of UTF-8 are kept.
    """

    def __init__(self, size: int) -> None:
        """Start with an empty text, which may grow to `size` bytes."""
        self._left = size
        self._kept: list[str] = []
        self._held_back = ""
        self.is_cut = False
        """Whether the end of the text was cut off."""

    def add(self, piece: str) -> str:
        """Add a piece, and return the new part of the kept text."""
        if self.is_cut:
            return ""
        text = self._held_back + piece.replace("\0", "")
        if not self._kept:
            if _is_invisible(text):
                self._held_back = text
                return ""
            text = re.sub(_BLANK_LINES, "", text)
        grown = text.rstrip()
        self._held_back = text[len(grown) :]
        kept = truncate(grown, self._left)
        self.is_cut = len(kept) < len(grown)
        self._left -= len(kept.encode())
        if kept:
            self._kept.append(kept)
        return kept

    def __str__(self) -> str:
        return "".join(self._kept)


def _refuse_nul(text: str, field: str) -> None:
    if "\0" in text:
        raise InvalidField(field, "Expected text without NUL characters")


def _is_invisible(text: str) -> bool:
    if re.search("[!-~]", text):  # compiling the other pattern takes 1 % of a cold start
        return False
    return not text or re.fullmatch(_INVISIBLE_RUN, text) is not None


def one_line(text: str) -> str:
    """Return the text in one line: white space becomes spaces, invisible characters are removed."""
    return re.sub(_INVISIBLE_RUN, lambda run: " " if re.search(r"\s", run[0]) else "", text).strip()


def shorten(text: str, length: int) -> str:
    """Return the text, or its first words and an ellipsis if it is longer than `length`."""
    if len(text) <= length:
        return text
    words, _, _ = text[:length].rpartition(" ")
    return (words or text[: length - 1]).rstrip() + "…"


def trim_field(struct: Any, field: str) -> None:
    """Trim the struct's text field in place; an empty text becomes None."""
    value = getattr(struct, field)
    if isinstance(value, str):
        name = struct.__struct_encode_fields__[struct.__struct_fields__.index(field)]
        msgspec.structs.force_setattr(struct, field, trim(value, name) or None)


def truncate(text: str, size: int) -> str:
    """Return the text, cut to at most `size` bytes of UTF-8 at the end of a character."""
    return text.encode()[:size].decode(errors="ignore")
