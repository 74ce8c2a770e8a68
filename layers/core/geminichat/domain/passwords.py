"""Passwords: a new password must be long enough and not easily guessed."""

from collections.abc import Set
from typing import Annotated

from msgspec import Meta

from geminichat.errors import InvalidRequest, WeakPassword

SHORTEST = 8
LONGEST = 128
"""Characters."""

_FORM = r"^[^\u0000]*$"

type Password = Annotated[str, Meta(max_length=LONGEST, extra_json_schema={"pattern": _FORM})]
type ChosenPassword = Annotated[
    str, Meta(max_length=LONGEST, extra_json_schema={"pattern": _FORM, "minLength": SHORTEST})
]
"""A new password; `check_strength` raises WeakPassword if the password is too short."""


def check_form(pointer: str, password: str) -> None:
    """Check that a password has a valid form; it may be wrong or weak. Raises InvalidRequest."""
    if "\0" in password:
        raise InvalidRequest.at({pointer: "A password must not contain a NUL character"})


def check_strength(pointer: str, password: str, *identities: str | None) -> None:
    """Check that a new password is not easily guessed. Raises WeakPassword."""
    check_form(pointer, password)
    if len(password) < SHORTEST:
        raise WeakPassword.at({pointer: f"Expected at least {SHORTEST} characters"})
    folded = password.strip().casefold()
    if len(set(folded)) < 2:
        raise WeakPassword.at({pointer: "A password must not be one character repeated"})
    if _is_sequence(folded):
        raise WeakPassword.at({pointer: "A password must not be a sequence or a short repetition"})
    for identity in filter(None, identities):
        local = identity.partition("@")[0]
        if _is_built_from(folded, identity) or _is_built_from(folded, local):
            explanation = "A password must not be built from your email address or mobile number"
            raise WeakPassword.at({pointer: explanation})
    if any(_is_built_from(folded, name) for name in PRODUCT_NAMES):
        raise WeakPassword.at({pointer: "A password must not be built from the product's name"})


def check_uncommon(pointer: str, password: str | None, common: Set[str]) -> None:
    """Check that a new password is not a common one; None is allowed. Raises WeakPassword."""
    if password and not common.isdisjoint(_variations(password.strip().casefold())):
        raise WeakPassword.at({pointer: "This password is one of the most common ones"})


PRODUCT_NAMES = ("gemini chat", "gemini")
_OWN_PART = 6
"""The fewest characters that a password needs in addition to an identity or the product's name."""
_LEET = str.maketrans("0134579@$!", "oieastgasi")
_ENDS = "0123456789 .,;:!?*#+-_@$&%"


_ROWS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_SEQUENCES = [*_ROWS, *(row[::-1] for row in _ROWS), "qwertzuiop", "azertyuiop"]
_SHORTEST_RUN = 3
"""The fewest neighbouring or equal characters that count as a run."""
_SHORTEST_UNIT = 4
"""The fewest characters that a password needs outside of runs, and before it repeats itself."""


def _is_sequence(folded: str) -> bool:
    """Return whether a password is a short repetition, or mostly alphabet or keyboard rows."""
    if len(_unit(folded)) < _SHORTEST_UNIT:
        return True
    own, start = 0, 0
    while start < len(folded):
        end = start + 1
        while end < len(folded) and _is_run(folded[start : end + 1]):
            end += 1
        is_part = end - start >= _SHORTEST_RUN
        own += not is_part
        start = end if is_part else start + 1
    return own < _SHORTEST_UNIT


def _is_run(text: str) -> bool:
    return len(set(text)) == 1 or any(text in row for row in _SEQUENCES)


def _unit(text: str) -> str:
    """Return the shortest text whose repetition gives this text; it may be the whole text."""
    return text[: (text + text).find(text, 1)]


def _variations(folded: str) -> set[str]:
    """Return simpler forms of a password, such as reversed, or without the digits at its end."""
    spelt = {folded, _squeeze(folded), folded.strip(_ENDS), folded.rstrip(_ENDS)}
    spelt |= {one.translate(_LEET) for one in spelt}
    spelt |= {_unit(one) for one in spelt}
    return spelt | {one[::-1] for one in spelt}


def _is_built_from(folded: str, text: str) -> bool:
    part = _squeeze(text)
    if len(part) < 3:
        return folded == text
    return any(
        part in squeezed and len(squeezed.replace(part, "")) < _OWN_PART
        for squeezed in (_squeeze(folded), _squeeze(folded.translate(_LEET)))
    )


def _squeeze(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
