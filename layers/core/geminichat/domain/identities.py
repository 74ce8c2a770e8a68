"""Identities: the email address or the mobile number by which an account is found.

Both are put into one normal form before anything looks at them, so that limits, uniqueness and
passwords that equal them cannot be dodged by another spelling. Only ASCII is taken: an address
that merely looks like another one is refused, not compared. An internationalised domain is
written in its `xn--` form.
"""

import re
from collections.abc import Callable
from typing import Literal

import msgspec

from geminichat.errors import InvalidRequest

EMAIL_LENGTH = 254
LOCAL_LENGTH = 64
"""RFC 5321, 4.5.3.1, and what it leaves of a path for the address itself."""

_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_EMAIL = re.compile(
    rf"(?P<local>{_ATOM}(?:\.{_ATOM})*)@(?:{_LABEL}\.)+(?=[a-z0-9-]*[a-z]){_LABEL}", re.ASCII
)
_MOBILE = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_MOBILE_WRITTEN = 40
"""Characters of a number as it may be typed, spaces and dashes included."""


class Identity(msgspec.Struct, frozen=True):
    """An address or a number in its normal form; whether it is verified, a table knows."""

    kind: Literal["email", "mobile"]
    value: str

    @property
    def key(self) -> str:
        """`email:…` or `mobile:…`, by which tables know it."""
        return f"{self.kind}:{self.value}"


def email(text: str) -> Identity:
    """Return the address in lower case. Raises ValueError with what is wrong."""
    address = text.lower() if text.isascii() else text
    found = _EMAIL.fullmatch(address) if len(address) <= EMAIL_LENGTH else None
    if found is None or len(found["local"]) > LOCAL_LENGTH:
        raise ValueError("Expected an email address such as ann@example.com, in ASCII")
    return Identity("email", address)


def mobile(text: str) -> Identity:
    """Return the number as E.164 without its spaces and dashes. Raises ValueError."""
    number = text.replace(" ", "").replace("-", "")
    if len(text) > _MOBILE_WRITTEN or not _MOBILE.fullmatch(number):
        raise ValueError("Expected a number with its country code, such as +14155550100")
    return Identity("mobile", number)


class Identified(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A body that names exactly one identity, by `email` or by `mobile`."""

    email: str | None = None
    mobile: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no identity. Raises InvalidRequest with a pointer to it."""
        _ = self.identity

    @property
    def identity(self) -> Identity:
        """The identity in its normal form."""
        match self.email, self.mobile:
            case str(), None:
                return _parsed("/email", email, self.email)
            case None, str():
                return _parsed("/mobile", mobile, self.mobile)
        either = "Expected either an email or a mobile"
        raise InvalidRequest.at({"/email": either, "/mobile": either})


def _parsed(pointer: str, parse: Callable[[str], Identity], text: str) -> Identity:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidRequest.at({pointer: str(error)}) from None
