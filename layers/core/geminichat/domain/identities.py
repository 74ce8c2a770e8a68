"""Identities: the email address or the mobile number of an account.

Both are normalised first, so that a different spelling cannot evade a limit or create a second
account. An email address is in ASCII, because other letters can look the same; an internationalised
domain is written in its `xn--` form.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from geminichat.errors import InvalidRequest

EMAIL_LENGTH = 254
LOCAL_LENGTH = 64
"""The most characters of an email address, and of the part before its @ (RFC 5321, 4.5.3.1)."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = (
    rf"^(?=[^@]{{1,{LOCAL_LENGTH}}}@){_ATOM}(?:\.{_ATOM})*"
    rf"@(?:{_LABEL}\.)+(?=[A-Za-z0-9-]*[A-Za-z]){_LABEL}$"
)
_MOBILE = r"[\s(]*(?:[+\uff0b]|00|tel:\+)[^a-zA-Z;,]+"
_MOBILE_LENGTH = 60
"""The most characters of a number as people type it."""

# `Identified` validates both and explains the problem; the schema tells clients the rules.
type Email = Annotated[
    str,
    Meta(extra_json_schema={"format": "email", "maxLength": EMAIL_LENGTH, "pattern": _EMAIL}),
]
type Mobile = Annotated[
    str,
    Meta(
        description="A mobile number with its country code, such as +14155550100",
        extra_json_schema={"maxLength": _MOBILE_LENGTH, "pattern": f"^{_MOBILE}$"},
    ),
]


class Identity(msgspec.Struct, frozen=True):
    """A normalised email address or mobile number, proven or not."""

    kind: Literal["email", "mobile"]
    value: str
    country: str = ""
    """The country of a parsed number (ISO 3166), otherwise empty."""

    @property
    def key(self) -> str:
        """The identity in the keys of tables: `email:…` or `mobile:…`."""
        return f"{self.kind}:{self.value}"

    @property
    def digest(self) -> str:
        """A digest of the identity, for keys that must not show the identity itself."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]


def parse_email(text: str) -> Identity:
    """Return the email address in lower case. Raises ValueError with the reason."""
    text = text.strip()
    if len(text) > EMAIL_LENGTH or not re.fullmatch(_EMAIL, text):
        raise ValueError("Expected an email address such as ann@example.com, in ASCII")
    return Identity("email", text.lower())


def parse_mobile(text: str) -> Identity:
    """Return the mobile number in E.164. Raises ValueError with the reason.

    A number is refused if its country's numbering plan shows that it cannot receive an SMS.
    """
    import phonenumbers  # takes 24 ms; requests with an email do not need it
    from phonenumbers import PhoneNumberType

    visible = "".join(char for char in text if unicodedata.category(char) != "Cf").strip()
    if len(text) > _MOBILE_LENGTH or not re.fullmatch(_MOBILE, visible):
        raise ValueError("Expected a number with its country code, such as +14155550100")
    try:
        number = phonenumbers.parse(re.sub(r"^[\s(]*00", "+", visible))
    except phonenumbers.NumberParseException:
        raise ValueError("Expected a number with its country code, such as +14155550100") from None
    if number.extension or not phonenumbers.is_valid_number(number):
        raise ValueError("This number is not assigned in its country: check its digits")
    country = phonenumbers.region_code_for_number(number)
    if country == NO_COUNTRY or phonenumbers.number_type(number) not in (
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
    ):
        raise ValueError("This number cannot receive SMS: expected a mobile number")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Identity("mobile", e164, country or "")


NO_COUNTRY = "001"
"""The region code in phonenumbers for numbers without a country, such as satellite numbers."""


def either_of(required: dict[str, list[str]]) -> dict[str, Any]:
    """Return a JSON Schema for a body that has exactly one of several alternative fields.

    Each key of `required` is an alternative; its value lists all fields that the body then needs.
    """
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
    """A body that names exactly one identity, in `email` or in `mobile`."""

    email: Email | None = None
    mobile: Mobile | None = None

    json_schema: ClassVar[dict[str, Any]] = either_of({"email": ["email"], "mobile": ["mobile"]})

    def __post_init__(self) -> None:
        """Validate the identity. Raises InvalidRequest with a pointer to the field."""
        _ = self.identity

    @property
    def identity(self) -> Identity:
        """The normalised identity. Raises InvalidRequest with a pointer to the field."""
        match self.email, self.mobile:
            case str(), None:
                return _parse("/email", parse_email, self.email)
            case None, str():
                return _parse("/mobile", parse_mobile, self.mobile)
        either = "Expected either an email address or a mobile number"
        raise InvalidRequest.at({"/email": either, "/mobile": either})


def _parse(pointer: str, parse: Callable[[str], Identity], text: str) -> Identity:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidRequest.at({pointer: str(error)}) from None
