"""Refresh tokens, and when a session is over."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from geminichat.domain import ids, sessions
from geminichat.domain.sessions import RefreshToken
from geminichat.errors import Unauthorized

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANN = ids.new("u")


def test_a_token_survives_its_text() -> None:
    token = RefreshToken.first(ANN)
    assert RefreshToken.read(token.text()) == token
    assert len(token.text()) < 300


def test_the_next_token_is_of_the_same_session_with_another_secret() -> None:
    numbers = count()
    first = RefreshToken.first(ANN, lambda size: f"{next(numbers):0{size * 4 // 3 + 1}}")
    following = first.next()
    assert following.session_id == first.session_id
    assert following.is_of(first.family_hash)
    assert following.is_newest(following.secret_hash)
    assert not first.is_newest(following.secret_hash)


def test_what_a_table_keeps_gives_no_token() -> None:
    token = RefreshToken.first(ANN)
    assert token.family not in token.family_hash
    assert token.secret not in token.secret_hash
    assert not RefreshToken.first(ANN).is_of(token.family_hash)


JUNK = {
    "empty": "",
    "a word": "refresh",
    "a JWT": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0.",
    "no secrets": f"{ANN}.{ids.new('s')}",
    "empty secrets": f"{ANN}.{ids.new('s')}..",
    "a short secret": f"{ANN}.{ids.new('s')}.{'a' * 43}.{'a' * 42}",
    "a long secret": f"{ANN}.{ids.new('s')}.{'a' * 43}.{'a' * 44}",
    "a newline": RefreshToken.first(ANN).text() + "\n",
    "another kind of id": f"{ids.new('r')}.{ids.new('s')}.{'a' * 43}.{'a' * 43}",
    "an operator": '{"$gt": ""}',
    "letters that only look so": f"{ANN}.{ids.new('s')}.{'\u0430' * 43}.{'a' * 43}",
}


@pytest.mark.parametrize("text", JUNK.values(), ids=JUNK.keys())
def test_junk_is_no_token(text: str) -> None:
    with pytest.raises(Unauthorized):
        RefreshToken.read(text)


@pytest.mark.parametrize(
    ("epoch", "user_epoch", "age", "alive"),
    [
        (0, 0, timedelta(0), True),
        (3, 3, timedelta(days=30) - timedelta(seconds=1), True),
        (3, 3, timedelta(days=30), False),
        (0, 1, timedelta(0), False),
        (2, 1, timedelta(0), False),
    ],
)
def test_a_session_lives_thirty_days_under_the_users_present_epoch(
    epoch: int, user_epoch: int, age: timedelta, alive: bool
) -> None:
    expires_at = sessions.expiry(NOON)
    assert alive == sessions.is_alive(
        epoch=epoch, user_epoch=user_epoch, expires_at=expires_at, now=NOON + age
    )
