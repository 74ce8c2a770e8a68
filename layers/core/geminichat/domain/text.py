"""What people type, before it is held against a rule."""

from typing import Any

import msgspec


def trimmed(struct: Any, field: str) -> None:
    """Strip the struct's text field in place; what is then empty becomes None."""
    value = getattr(struct, field)
    if isinstance(value, str):
        msgspec.structs.force_setattr(struct, field, value.strip() or None)


def within(text: str, size: int) -> str:
    """Return as much of the text as fits into `size` bytes of UTF-8."""
    return text.encode()[:size].decode(errors="ignore")
