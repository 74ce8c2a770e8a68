"""The accepted email addresses and mobile numbers, and their normal form."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.api import parse_json
from geminichat.domain import identities
from geminichat.domain.accounts import Credentials, GivenCode, NewAccount, NewPassword
from geminichat.domain.codes import CodeRequest
from geminichat.domain.identities import Identity
from geminichat.errors import InvalidRequest

PASSWORD = "correct horse battery"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann.O'Hara+gc@Example.COM", "ann.o'hara+gc@example.com"),
        ("a@b.co", "a@b.co"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com"),
        ("a@" + "b" * 63 + ".example", "a@" + "b" * 63 + ".example"),
        (" ann@example.com ", "ann@example.com"),
        ("ann@example.com\r\n", "ann@example.com"),
    ],
)
def test_an_email_is_normalised_to_lower_case(written: str, kept: str) -> None:
    assert identities.parse_email(written) == Identity("email", kept)
    assert identities.parse_email(written).key == f"email:{kept}"


HOSTILE_EMAILS = {
    "empty": "",
    "no at": "ann.example.com",
    "two ats": "ann@evil.com@example.com",
    "no domain": "ann@",
    "no local part": "@example.com",
    "no top level": "ann@localhost",
    "an address of numbers": "ann@127.0.0.1",
    "a bracketed address": "ann@[127.0.0.1]",
    "a newline inside": "ann@example.com\nbcc: eve@evil.com",
    "a NUL": "ann\0@example.com",
    "a tab": "ann\t@example.com",
    "a space": "ann @example.com",
    "a quoted local part": '"ann b"@example.com',
    "a comment": "ann(eve)@example.com",
    "a display name": "Ann <ann@example.com>",
    "two addresses": "ann@example.com,eve@evil.com",
    "dots in a row": "ann..b@example.com",
    "a leading dot": ".ann@example.com",
    "a trailing dot": "ann.@example.com",
    "a rooted domain": "ann@example.com.",
    "a label that begins with a dash": "ann@-example.com",
    "a label that is too long": "ann@" + "b" * 64 + ".com",
    "a local part that is too long": "a" * 65 + "@example.com",
    "255 characters": "a@" + "b." * 125 + "com",
    "a Cyrillic a": "\u0430nn@example.com",
    "a Cyrillic e in the domain": "ann@\u0435xample.com",
    "fullwidth letters": "\uff41nn@example.com",
    "a fullwidth at": "ann\uff20example.com",
    "a Kelvin sign for k": "\u212aate@example.com",
    "a dotless i": "\u0131an@example.com",
    "a dotted capital I": "\u0130an@example.com",
    "a long s": "\u017fam@example.com",
    "a zero-width space": "ann\u200b@example.com",
    "a combining accent": "ann\u0301@example.com",
    "an ideographic full stop": "ann@example\u3002com",
}


@pytest.mark.parametrize("written", HOSTILE_EMAILS.values(), ids=HOSTILE_EMAILS.keys())
def test_a_malformed_email_is_refused_with_a_pointer(written: str) -> None:
    check_refused("/email", CodeRequest, {"email": written})


SPELLINGS = [
    "+14155550100",
    "+1 (415) 555-0100",
    "+1.415.555.0100",
    "0014155550100",
    "(+1) 415 555 0100",
    "\u202a+14155550100\u202c",
    "+1\u00a0415\u00a0555\u00a00100",
    "+1\u2011415\u2011555\u20110100",
    "+1\u2013415 555\u200b0100",
    "tel:+14155550100",
    "+\u0661\u0664\u0661\u0665\u0665\u0665\u0665\u0660\u0661\u0660\u0660",
    "\uff0b\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff10\uff10",
    "+14155550100\n",
]


@pytest.mark.parametrize("written", SPELLINGS)
def test_all_spellings_of_a_mobile_number_are_one_identity(written: str) -> None:
    assert identities.parse_mobile(written) == Identity("mobile", "+14155550100", "US")


TRUNK_ZEROS = {
    "GB": ("+44 (0)7400 123456", "+447400123456"),
    "GG": ("+4407911123456", "+447911123456"),
    "DE": ("+49 0151 23456789", "+4915123456789"),
    "FR": ("+33 (0)6 12 34 56 78", "+33612345678"),
    "IN": ("+91 098765 43210", "+919876543210"),
    "AU": ("+61 (0)412 345 678", "+61412345678"),
    "NL": ("+31 (0)6 12345678", "+31612345678"),
    "CH": ("+41 (0)78 123 45 67", "+41781234567"),
    "SE": ("+46 (0)70-123 45 67", "+46701234567"),
    "VN": ("+84 0912 345 678", "+84912345678"),
    "ZA": ("+27 (0)82 123 4567", "+27821234567"),
    "TR": ("+90 0532 123 45 67", "+905321234567"),
}


@pytest.mark.parametrize(("country", "number"), TRUNK_ZEROS.items(), ids=TRUNK_ZEROS.keys())
def test_a_trunk_prefix_is_removed_from_a_mobile_number(
    country: str, number: tuple[str, str]
) -> None:
    written, kept = number
    assert identities.parse_mobile(written) == Identity("mobile", kept, country)
    assert identities.parse_mobile(kept) == Identity("mobile", kept, country)


HOSTILE_MOBILES = {
    "empty": "",
    "no country code": "4155550100",
    "a zero after the plus": "+04155550100",
    "only a plus": "+",
    "too short": "+123456",
    "16 digits": "+1234567890123456",
    "200 characters": "+" + "1" * 199,
    "200 characters, mostly spaces": "+14155550100" + " " * 188,
    "200 characters, mostly dashes": "+1" + "-" * 188 + "4155550100",
    "letters": "+1415555CALL",
    "an extension": "+14155550100;ext=9",
    "two numbers": "+14155550100 or +14155550101",
    "superscript digits": "+1415555010\u2070",
    "an emergency number": "112",
    "an unassigned number": "+15555555555",
    "an unassigned country": "+999123456789",
    "premium rate": "+1 900 555 0100",
    "premium rate in Great Britain": "+44 909 879 0000",
    "toll-free": "+1 800 555 0100",
    "shared cost": "+44 843 123 4567",
    "a landline": "+44 20 7946 0000",
    "a personal number": "+44 70 1234 5678",
    "a pager": "+44 76 0012 3456",
    "Inmarsat": "+870 773 111 632",
    "Globalstar": "+881 6 1234 5678",
}


@pytest.mark.parametrize("written", HOSTILE_MOBILES.values(), ids=HOSTILE_MOBILES.keys())
def test_a_phone_number_that_cannot_receive_sms_is_refused_with_a_pointer(
    written: str,
) -> None:
    check_refused("/mobile", CodeRequest, {"mobile": written})


NO_TEXTS = {
    "an operator": {"$gt": ""},
    "another operator": {"$ne": None},
    "a list": ["+14155550100"],
    "a number": 14155550100,
    "true": True,
}


@pytest.mark.parametrize("value", NO_TEXTS.values(), ids=NO_TEXTS.keys())
@pytest.mark.parametrize("field", ["email", "mobile"])
@pytest.mark.parametrize("kind", [CodeRequest, NewAccount, Credentials, GivenCode, NewPassword])
def test_an_object_in_place_of_an_identity_is_refused_with_a_pointer(
    kind: type, field: str, value: Any
) -> None:
    more: dict[type, dict[str, str]] = {
        NewAccount: {"password": PASSWORD},
        Credentials: {"password": PASSWORD},
        GivenCode: {"otp": "123456"},
        NewPassword: {"otp": "123456", "newPassword": PASSWORD},
    }
    check_refused(f"/{field}", kind, {field: value, **more.get(kind, {})})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": None},
        {"email": None, "mobile": None},
        {"email": "ann@example.com", "mobile": "+14155550100"},
    ],
    ids=["neither", "null", "both null", "both"],
)
def test_a_body_must_name_exactly_one_identity(body: dict[str, Any]) -> None:
    check_refused(["/email", "/mobile"], CodeRequest, body)


@given(st.text())
def test_every_accepted_email_is_short_ascii_and_normalised(text: str) -> None:
    try:
        taken = identities.parse_email(text)
    except ValueError:
        return
    assert taken.value.isascii()
    assert taken.value.isprintable()
    assert len(taken.value) <= 254
    assert identities.parse_email(taken.value) == taken


@given(st.text(alphabet="+0123456789 -\n\u0661"))
def test_every_accepted_mobile_number_is_in_e164_format(text: str) -> None:
    try:
        taken = identities.parse_mobile(text)
    except ValueError:
        return
    assert taken.value[0] == "+"
    assert taken.value[1:].isascii()
    assert taken.value[1:].isdigit()
    assert 8 <= len(taken.value) <= 16
    assert identities.parse_mobile(taken.value) == taken


def check_refused(pointers: str | list[str], kind: type, body: Any) -> None:
    """Check that the error for a body has these pointers and repeats no input."""
    with pytest.raises(InvalidRequest) as caught:
        parse_json(json.dumps(body).encode(), kind)
    expected = [pointers] if isinstance(pointers, str) else pointers
    assert [problem.pointer for problem in caught.value.errors] == expected
