"""Identities: the email address or the mobile number by which an account is found.

Both are put into one normal form before anything looks at them, so that limits, uniqueness and
passwords that equal them cannot be dodged by another spelling. Only ASCII is taken: an address
that merely looks like another one is refused, not compared. An internationalised domain is
written in its `xn--` form.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from geminichat.errors import InvalidRequest

EMAIL_LENGTH = 254
LOCAL_LENGTH = 64
"""RFC 5321, 4.5.3.1, and what it leaves of a path for the address itself."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = (
    rf"^(?=[^@]{{1,{LOCAL_LENGTH}}}@){_ATOM}(?:\.{_ATOM})*"
    rf"@(?:{_LABEL}\.)+(?=[A-Za-z0-9-]*[A-Za-z]){_LABEL}$"
)
_MOBILE = r"^[ -]*\+[ -]*[1-9](?:[ -]*[0-9]){6,14}[ -]*$"
_MOBILE_WRITTEN = 40
"""Characters of a number as it may be typed, spaces and dashes included."""

# Checked below, where an error is given its words; told to clients as it stands.
type Email = Annotated[
    str,
    Meta(extra_json_schema={"format": "email", "maxLength": EMAIL_LENGTH, "pattern": _EMAIL}),
]
type Mobile = Annotated[
    str, Meta(extra_json_schema={"maxLength": _MOBILE_WRITTEN, "pattern": _MOBILE})
]


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
    if len(text) > EMAIL_LENGTH or not re.fullmatch(_EMAIL, text):
        raise ValueError("Expected an email address such as ann@example.com, in ASCII")
    return Identity("email", text.lower())


def mobile(text: str) -> Identity:
    """Return the number as E.164 without its spaces and dashes. Raises ValueError."""
    if len(text) > _MOBILE_WRITTEN or not re.fullmatch(_MOBILE, text):
        raise ValueError("Expected a number with its country code, such as +14155550100")
    return Identity("mobile", text.replace(" ", "").replace("-", ""))


def either_of(required: dict[str, list[str]]) -> dict[str, Any]:
    """Return, as JSON Schema, that one of the fields is given, with those it requires, not two."""
    return {
        "oneOf": [
            {
                "required": fields,
                "properties": {field: {"type": "string"} for field in fields}
                | {other: {"type": "null"} for other in required if other != one},
            }
            for one, fields in required.items()
        ]
    }


class Identified(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """A body that names exactly one identity, by `email` or by `mobile`."""

    email: Email | None = None
    mobile: Mobile | None = None

    json_schema: ClassVar[dict[str, Any]] = either_of({"email": ["email"], "mobile": ["mobile"]})

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
