"""One-time codes: drawn, hashed, and how often they are sent."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import codes
from geminichat.domain.codes import Purpose
from geminichat.domain.identities import Identity
from geminichat.errors import TooManyRequests

ANN = Identity("mobile", "+14155550100")
KEY = b"k" * 32
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def sent(*seconds_ago: float) -> list[int]:
    return [codes.millis(NOON - timedelta(seconds=ago)) for ago in seconds_ago]


def draw(before: Sequence[int] = (), now: datetime = NOON, number: int = 7) -> codes.Sending:
    return codes.draw(ANN, Purpose.VERIFY, before, now, below=lambda _: number)


@pytest.mark.parametrize(("number", "code"), [(0, "000000"), (7, "000007"), (999_999, "999999")])
def test_a_code_has_six_digits_and_all_a_million_are_drawn(number: int, code: str) -> None:
    asked = []

    def below(limit: int) -> int:
        asked.append(limit)
        return number

    assert codes.draw(ANN, Purpose.VERIFY, [], NOON, below).code == code
    assert asked == [1_000_000]


def test_codes_differ() -> None:
    drawn = {codes.draw(ANN, Purpose.VERIFY, [], NOON).code for _ in range(100)}
    assert len(drawn) > 90


def test_what_a_table_keeps_is_bound_to_code_purpose_identity_and_key() -> None:
    kept = codes.digest("123456", Purpose.VERIFY, ANN, KEY)
    assert "123456" not in kept
    others = [
        codes.digest("123457", Purpose.VERIFY, ANN, KEY),
        codes.digest("123456", Purpose.RESET, ANN, KEY),
        codes.digest("123456", Purpose.VERIFY, Identity("mobile", "+14155550101"), KEY),
        codes.digest("123456", Purpose.VERIFY, ANN, b"x" * 32),
    ]
    assert not any(codes.is_it(kept, other) for other in others)
    assert codes.is_it(kept, draw(number=123_456).digest(KEY))


def test_a_code_is_good_for_ten_minutes() -> None:
    assert draw().good_until == codes.millis(NOON + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("before", "wait"),
    [
        (sent(0), 30),
        (sent(1), 29),
        (sent(29.999), 1),
        (sent(3000, 2000, 1000, 500, 10), 600),
        (sent(3599, 120, 90, 60, 31), 1),
        (sent(150, 120, 90, 60, 31), 3450),
    ],
)
def test_a_code_too_many_is_refused_and_says_for_how_long(before: list[int], wait: int) -> None:
    with pytest.raises(TooManyRequests) as caught:
        draw(before)
    assert caught.value.headers["retry-after"] == str(wait)
    assert set(caught.value.headers) == {"retry-after", "ratelimit", "ratelimit-policy"}


@pytest.mark.parametrize(
    "before", [[], sent(30), sent(3000, 2000, 1000, 30), sent(3600, 120, 90, 60, 31)]
)
def test_a_code_within_the_limits_is_drawn(before: list[int]) -> None:
    drawn = draw(before)
    assert drawn.sends[-1] == codes.millis(NOON)
    assert len(drawn.sends) <= codes.SENDS


def test_answers_say_what_is_left() -> None:
    assert draw(sent(100, 40)).headers() == {
        "ratelimit-policy": '"pause";q=1;w=30, "hour";q=5;w=3600',
        "ratelimit": '"pause";r=0;t=30, "hour";r=2;t=3500',
    }


@given(st.lists(st.integers(min_value=1, max_value=2_000), max_size=60))
def test_whoever_asks_whenever_no_hour_sees_six_and_no_thirty_seconds_two(gaps: list[int]) -> None:
    now = NOON
    before: list[int] = []
    taken: list[datetime] = []
    for gap in gaps:
        now += timedelta(seconds=gap)
        try:
            before = draw(before, now).sends
        except TooManyRequests:
            continue
        taken.append(now)
    assert all(b - a >= codes.PAUSE for a, b in pairwise(taken))
    assert all(b - a >= codes.WINDOW for a, b in zip(taken, taken[5:], strict=False))


def test_a_message_fits_into_one_sms_and_tells_whom_to_tell() -> None:
    for purpose in Purpose:
        for known in (True, False):
            _, text = codes.message(purpose, "123456", known=known)
            assert len(text) <= 160
            assert text.isascii()
            assert ("123456" in text) == (known or purpose is Purpose.VERIFY)
