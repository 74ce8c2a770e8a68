"""Passwords: which are taken. Length, and that nobody would guess it, is all that counts."""

from functools import cache
from pathlib import Path
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
"""One that is set, not compared; the check of its strength gives its error a code."""


def check_form(pointer: str, password: str) -> None:
    """Refuse what was never a password here, be it right or wrong. Raises InvalidRequest."""
    if "\0" in password:
        raise InvalidRequest.at({pointer: "A password has no NUL character"})


def check_strength(pointer: str, password: str, *identities: str | None) -> None:
    """Refuse a new password that is easily guessed. Raises WeakPassword."""
    check_form(pointer, password)
    if len(password) < SHORTEST:
        raise WeakPassword.at({pointer: f"Expected at least {SHORTEST} characters"})
    folded = password.strip().casefold()
    if folded in _common():
        raise WeakPassword.at({pointer: "This password is one of the most common ones"})
    bare = folded.replace(" ", "").replace("-", "")
    for identity in identities:
        if identity and (folded == identity or bare.removeprefix("+") == identity[1:]):
            raise WeakPassword.at({pointer: "A password must not equal the email or the mobile"})


@cache
def _common() -> frozenset[str]:
    listed = Path(__file__).with_name("common_passwords.txt").read_text("ascii")
    return frozenset(line for line in listed.splitlines() if not line.startswith("#"))
