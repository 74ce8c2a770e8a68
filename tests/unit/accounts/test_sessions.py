"""Refresh tokens, and how long a session lasts."""

from datetime import UTC, datetime, timedelta

import pytest

from geminichat.domain import ids, sessions
from geminichat.domain.sessions import RefreshToken
from geminichat.errors import Unauthorized

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANN = ids.new("u")


def test_a_refresh_token_is_unchanged_after_it_was_written_and_read() -> None:
    token = RefreshToken.generate(ANN)
    assert RefreshToken.read(token.text()) == token
    assert len(token.text()) < 300


KEY = b"k" * 32


def test_the_next_refresh_token_has_the_same_session_and_another_secret() -> None:
    first = RefreshToken.generate(ANN)
    following = first.derive_next(KEY)
    assert following.session_id == first.session_id
    assert following.is_of_family(first.family_hash)
    assert following.has_secret(following.secret_hash)
    assert not first.has_secret(following.secret_hash)
    assert RefreshToken.read(following.text()) == following


def test_the_next_refresh_token_depends_only_on_the_token_and_the_signing_key() -> None:
    first = RefreshToken.generate(ANN)
    assert first.derive_next(KEY) == first.derive_next(KEY)
    assert first.derive_next(KEY) != first.derive_next(b"x" * 32)
    assert first.derive_next(KEY).derive_next(KEY) != first.derive_next(KEY)
    assert first.access_token_id != first.derive_next(KEY).access_token_id
    assert first.secret not in first.access_token_id


def test_the_hash_of_a_refresh_token_does_not_contain_the_token() -> None:
    token = RefreshToken.generate(ANN)
    assert token.family not in token.family_hash
    assert token.secret not in token.secret_hash
    assert not RefreshToken.generate(ANN).is_of_family(token.family_hash)
    assert not token.has_secret(None)


JUNK = {
    "empty": "",
    "a word": "refresh",
    "a JWT": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0.",
    "no secrets": f"{ANN}.{ids.new('s')}",
    "empty secrets": f"{ANN}.{ids.new('s')}..",
    "a short secret": f"{ANN}.{ids.new('s')}.{'a' * 43}.{'a' * 42}",
    "a long secret": f"{ANN}.{ids.new('s')}.{'a' * 43}.{'a' * 44}",
    "a newline": RefreshToken.generate(ANN).text() + "\n",
    "another kind of id": f"{ids.new('r')}.{ids.new('s')}.{'a' * 43}.{'a' * 43}",
    "an operator": '{"$gt": ""}',
    "Cyrillic letters": f"{ANN}.{ids.new('s')}.{'\u0430' * 43}.{'a' * 43}",
}


@pytest.mark.parametrize("text", JUNK.values(), ids=JUNK.keys())
def test_a_malformed_refresh_token_is_refused(text: str) -> None:
    with pytest.raises(Unauthorized):
        RefreshToken.read(text)


@pytest.mark.parametrize(
    ("began", "age", "valid"),
    [
        (True, timedelta(0), True),
        (True, timedelta(days=90) - timedelta(seconds=1), True),
        (True, timedelta(days=90), False),
        (False, timedelta(0), False),
    ],
)
def test_a_session_is_valid_for_ninety_days(began: bool, age: timedelta, valid: bool) -> None:
    began_at = int(NOON.timestamp()) if began else None
    assert sessions.is_valid(began_at, NOON + age) == valid


def test_a_refresh_token_expires_after_thirty_days_or_when_its_session_ends() -> None:
    day = timedelta(days=1)
    assert sessions.expiry(NOON, NOON) == int((NOON + 30 * day).timestamp())
    assert sessions.expiry(NOON, NOON + 80 * day) == int((NOON + 90 * day).timestamp())
