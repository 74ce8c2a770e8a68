"""The rules for new passwords, and their hashes."""

import json
from typing import Any

import pytest

from geminichat import config
from geminichat.api import parse_json
from geminichat.domain import hashing, passwords
from geminichat.domain.accounts import (
    Credentials,
    GivenCode,
    NewAccount,
    NewPassword,
    PasswordChange,
)
from geminichat.errors import InvalidRequest, WeakPassword

EMAIL = "ann.bell@example.com"
MOBILE = "+14155550100"


def catch_refusal(kind: type, body: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the code and the pointers of the error that refuses a body."""
    with pytest.raises(InvalidRequest) as caught:
        parse_json(json.dumps(body).encode(), kind)
    assert caught.value.status == 400
    return caught.value.code, [problem.pointer for problem in caught.value.errors]


@pytest.mark.parametrize(
    "password",
    [
        "8 charss",
        "correct horse battery staple",
        ("a sentence of ordinary words, " * 5)[:128],
        "пароль-и-ещё",
        "gemini is my favourite model",
        "ann bell likes long walks",
        "staple staple staple",
        "monkey likes 1990",
        "}{]~^=<>",
        "abcdef is how it starts",
    ],
)
def test_a_long_uncommon_password_needs_no_special_characters(password: str) -> None:
    passwords.check_strength("/password", password, EMAIL)
    passwords.check_uncommon("/password", password, config.common_passwords())


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("", "weak-password"),
        ("7 chars", "weak-password"),
        ("1234567890", "weak-password"),
        ("qwertyuiop", "weak-password"),
        (EMAIL, "weak-password"),
        (EMAIL.upper(), "weak-password"),
        ("aaaaaaaaaaaa", "weak-password"),
        (" " * 12, "weak-password"),
        ("🐎" * 8, "weak-password"),
        ("ann.bell", "weak-password"),
        ("AnnBell2026", "weak-password"),
        ("geminichat", "weak-password"),
        ("Gemini-Chat-1", "weak-password"),
        ("G3mini12", "weak-password"),
        ("abcdefgh", "weak-password"),
        ("hgfedcba", "weak-password"),
        ("lmnopqrs", "weak-password"),
        ("98765432", "weak-password"),
        ("0987654321", "weak-password"),
        ("zxcvbnm,", "weak-password"),
        ("Qwertz12", "weak-password"),
        ("xyz12345", "weak-password"),
        ("1234-5678", "weak-password"),
        ("aaaabbbb", "weak-password"),
        ("12121212", "weak-password"),
        ("abcabcabc", "weak-password"),
        ("x" * 129, "bad-request"),
        ("x" * 10_000, "bad-request"),
        ("correct\0horse", "bad-request"),
        ("correct horse\0", "bad-request"),
    ],
)
def test_a_weak_or_malformed_password_is_refused(password: str, code: str) -> None:
    account = {"email": EMAIL, "password": password}
    assert catch_refusal(NewAccount, account) == (code, ["/password"])
    reset = {"email": EMAIL, "otp": "123456", "newPassword": password}
    assert catch_refusal(NewPassword, reset) == (code, ["/newPassword"])


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "PassWord1",
        "P@ssw0rd!",
        "password2026",
        "123Sunshine!!",
        "passwordpassword",
        "Dragon_Dragon",
        "monkey1990",
        "letmein99",
        "321drowssap",
    ],
)
def test_a_common_password_is_refused_in_each_of_its_variations(password: str) -> None:
    with pytest.raises(WeakPassword) as caught:
        passwords.check_uncommon("/password", password, config.common_passwords())
    assert [problem.pointer for problem in caught.value.errors] == ["/password"]


@pytest.mark.parametrize("password", [MOBILE, "14155550100", "+1 415-555-0100"])
def test_a_password_must_not_be_the_users_mobile_number_in_any_spelling(password: str) -> None:
    assert catch_refusal(NewAccount, {"mobile": MOBILE, "password": password})[0] == "weak-password"


def test_a_change_to_a_weak_password_is_refused() -> None:
    change = {"currentPassword": "x", "newPassword": "abcdefgh"}
    assert catch_refusal(PasswordChange, change) == ("weak-password", ["/newPassword"])


@pytest.mark.parametrize("password", ["x" * 129, "a\0b"])
def test_a_text_that_cannot_be_a_password_is_refused_before_it_is_hashed(password: str) -> None:
    assert catch_refusal(Credentials, {"email": EMAIL, "password": password}) == (
        "bad-request",
        ["/password"],
    )
    change = {"currentPassword": password, "newPassword": "correct horse battery"}
    assert catch_refusal(PasswordChange, change) == ("bad-request", ["/currentPassword"])


@pytest.mark.parametrize("password", ["short", "password"])
def test_a_weak_password_is_accepted_at_login(password: str) -> None:
    """A password set under older rules still works, and a login reveals no rule."""
    body = json.dumps({"email": EMAIL, "password": password}).encode()
    assert parse_json(body, Credentials).password == password


def test_only_a_sign_up_with_an_email_requires_a_password() -> None:
    assert catch_refusal(NewAccount, {"email": EMAIL}) == ("bad-request", ["/password"])
    assert parse_json(json.dumps({"mobile": MOBILE}).encode(), NewAccount).password is None


@pytest.mark.parametrize(
    "otp",
    ["", "12345", "1234567", "12345a", "123456\n", "\uff11\uff12\uff13\uff14\uff15\uff16", 123456],
)
def test_a_code_is_six_ascii_digits(otp: Any) -> None:
    assert catch_refusal(GivenCode, {"email": EMAIL, "otp": otp}) == ("bad-request", ["/otp"])


def test_the_shipped_list_has_the_most_common_passwords_in_lower_case() -> None:
    listed = config.common_passwords()
    assert len(listed) > 10_000
    assert {"password", "12345678", "iloveyou", "trustno1"} <= listed
    assert sum(len(word) >= passwords.SHORTEST for word in listed) > 10_000
    assert all(word == word.casefold() for word in listed)


def test_a_hash_is_argon2id_with_owasps_cost_and_matches_only_its_password() -> None:
    hashed = hashing.hash_password("correct horse battery")
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert hashed != hashing.hash_password("correct horse battery")
    assert hashing.is_match("correct horse battery", hashed)
    assert not hashing.is_match("correct horse batterY", hashed)
    assert not hashing.is_match("correct horse battery", None)
    assert not hashing.is_match("correct horse battery", "no hash at all")


def test_a_password_matches_in_every_unicode_form() -> None:
    hashed = hashing.hash_password("caf\u00e9 au lait")
    assert hashing.is_match("cafe\u0301 au lait", hashed)


def test_the_dummy_hash_has_the_same_cost_as_every_other_hash() -> None:
    assert not hashing._hasher.check_needs_rehash(hashing.DUMMY)
