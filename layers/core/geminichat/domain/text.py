"""What people type, before it is held against a rule."""

import re
from typing import Any

import msgspec

from geminichat.errors import InvalidField

_UNSEEN = (
    r"\s\x00-\x1f\x7f-\x9f"  # space and controls
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    r"\u2800"  # before it Unicode's Default_Ignorable_Code_Point, this is Braille without dots
)
_ALL_UNSEEN = re.compile(f"[{_UNSEEN}]*")

NO_NUL = r"^[^\x00]*$"
VISIBLE = rf"^[^\x00]*[^{_UNSEEN}][^\x00]*$"
"""What `seen` takes, as JSON Schema has it (ECMA-262)."""


def seen(text: str, field: str) -> str:
    """Return the text without the space around it; empty where nothing of it can be seen.

    Raises InvalidField for a NUL: no person typed it, and few programs that show texts bear it.
    """
    if "\0" in text:
        raise InvalidField(field, "Expected no NUL character")
    return "" if _ALL_UNSEEN.fullmatch(text) else text.strip()


def trimmed(struct: Any, field: str) -> None:
    """Strip the struct's text field in place; what is then empty becomes None."""
    value = getattr(struct, field)
    if isinstance(value, str):
        name = struct.__struct_encode_fields__[struct.__struct_fields__.index(field)]
        msgspec.structs.force_setattr(struct, field, seen(value, name) or None)


def within(text: str, size: int) -> str:
    """Return as much of the text as fits into `size` bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")
