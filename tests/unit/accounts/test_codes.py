"""One-time codes: how they are generated, hashed and compared, and how often they are sent."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import codes, times
from geminichat.domain.codes import Purpose, SentCode
from geminichat.domain.identities import Identity
from geminichat.errors import TooManyRequests

ANN = Identity("mobile", "+14155550100")
KEY = b"k" * 32
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ME, OTHER = "network:me", "network:other"
CHALLENGE = "c_" + "a" * 26


def send_codes(caller: str, *seconds_ago: float, purpose: str = "login") -> list[SentCode]:
    return [
        SentCode(
            challenge=f"c_{caller}_{ago}",
            digest="",
            kid="k1",
            purpose=purpose,
            sent_at=times.millis(NOON - timedelta(seconds=ago)),
            sender=caller,
        )
        for ago in seconds_ago
    ]


@pytest.mark.parametrize(("number", "code"), [(0, "000000"), (7, "000007"), (999_999, "999999")])
def test_a_code_is_one_of_a_million_numbers_with_six_digits(number: int, code: str) -> None:
    asked = []

    def below(limit: int) -> int:
        asked.append(limit)
        return number

    assert codes.generate(ANN, Purpose.LOGIN, ME, NOON, below).code == code
    assert asked == [1_000_000]


def test_generated_codes_and_challenges_differ() -> None:
    drawn = [codes.generate(ANN, Purpose.LOGIN, ME, NOON) for _ in range(100)]
    assert len({one.code for one in drawn}) > 90
    assert len({one.challenge for one in drawn}) == 100


def test_a_codes_hash_changes_with_each_of_its_inputs() -> None:
    kept = codes.digest("123456", Purpose.LOGIN, ANN, CHALLENGE, KEY)
    assert "123456" not in kept
    others = [
        codes.digest("123457", Purpose.LOGIN, ANN, CHALLENGE, KEY),
        codes.digest("123456", Purpose.RESET, ANN, CHALLENGE, KEY),
        codes.digest("123456", Purpose.LOGIN, Identity("mobile", "+14155550101"), CHALLENGE, KEY),
        codes.digest("123456", Purpose.LOGIN, ANN, "c_" + "b" * 26, KEY),
        codes.digest("123456", Purpose.LOGIN, ANN, CHALLENGE, b"x" * 32),
    ]
    assert kept not in others
    assert kept == codes.digest("123456", Purpose.LOGIN, ANN, CHALLENGE, KEY)


def test_a_code_expires_after_ten_minutes() -> None:
    [sent] = send_codes(ME, 0)
    assert sent.is_unexpired(NOON + timedelta(minutes=10) - timedelta(milliseconds=1))
    assert not sent.is_unexpired(NOON + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("mine", "wait"),
    [
        ([0], 30),
        ([1], 29),
        ([29.999], 1),
        ([3000, 2000, 1000, 500, 10], 600),
        ([3599, 120, 90, 60, 31], 1),
        ([150, 120, 90, 60, 31], 3450),
    ],
)
def test_a_caller_who_requests_too_many_codes_is_told_how_long_to_wait(
    mine: list[float], wait: int
) -> None:
    with pytest.raises(TooManyRequests) as caught:
        codes.require_sendable(send_codes(ME, *mine), ME, NOON)
    assert caught.value.headers["retry-after"] == str(wait)
    assert set(caught.value.headers) == {"retry-after", "ratelimit", "ratelimit-policy"}


@pytest.mark.parametrize(
    "mine", [[], [30], [3000, 2000, 1000, 30], [3600, 120, 90, 60, 31]], ids=str
)
def test_a_code_within_the_callers_limits_is_sent(mine: list[float]) -> None:
    codes.require_sendable(send_codes(ME, *mine), ME, NOON)


def test_codes_of_other_callers_do_not_use_up_a_callers_limit() -> None:
    others = [one for n in range(10) for one in send_codes(f"network:{n}", 100, 90, 80, 70, 60)]
    codes.require_sendable(others, ME, NOON)
    with pytest.raises(TooManyRequests):
        codes.require_sendable([*others, *send_codes(ME, 40)], ME, NOON)
    codes.require_sendable([*others, *send_codes("device:d", 40)], "device:d", NOON)


def test_all_networks_together_may_request_sixty_codes_per_hour_for_an_identity() -> None:
    others = [one for n in range(60) for one in send_codes(f"network:{n}", 100)]
    with pytest.raises(TooManyRequests):
        codes.require_sendable(others, ME, NOON)
    codes.require_sendable(others, "device:d", NOON)


def test_limit_headers_count_only_the_callers_own_codes() -> None:
    sent = [*send_codes(ME, 100, 40), *send_codes(OTHER, 30, 20, 10)]
    assert codes.headers(sent, ME, NOON) == {
        "ratelimit-policy": '"pause";q=1;w=30, "hour";q=5;w=3600',
        "ratelimit": '"pause";r=1;t=0, "hour";r=3;t=3500',
    }


def test_a_code_sent_an_hour_ago_is_not_counted() -> None:
    sent = send_codes(ME, 3_600, 100)
    assert codes.select_recent(sent, NOON) == sent[1:]
    assert codes.headers(sent, ME, NOON)["ratelimit"] == '"pause";r=1;t=0, "hour";r=4;t=3500'


def test_without_a_challenge_a_try_is_compared_with_the_callers_codes_and_the_newest_code() -> None:
    sent = [
        *send_codes(ME, 700, 300),
        *send_codes(OTHER, 200, 100),
        *send_codes(ME, 50, purpose="link"),
    ]
    found = codes.candidates(sent, Purpose.LOGIN, None, ME, NOON)
    assert [one.challenge for one in found] == ["c_network:me_300", "c_network:other_100"]


def test_with_a_challenge_a_try_is_compared_only_with_the_code_of_that_challenge() -> None:
    sent = send_codes(ME, 300, 200)
    found = codes.candidates(sent, Purpose.LOGIN, "c_network:me_300", OTHER, NOON)
    assert [one.challenge for one in found] == ["c_network:me_300"]
    assert codes.candidates(sent, Purpose.RESET, "c_network:me_300", ME, NOON) == []
    assert codes.candidates(sent, Purpose.LOGIN, "c_unknown", ME, NOON) == []


@given(st.lists(st.integers(min_value=1, max_value=2_000), max_size=60))
def test_a_caller_gets_at_most_five_codes_per_hour_and_one_per_thirty_seconds(
    gaps: list[int],
) -> None:
    now, sent = NOON, list[SentCode]()
    taken: list[datetime] = []
    for gap in gaps:
        now += timedelta(seconds=gap)
        try:
            codes.require_sendable(sent, ME, now)
        except TooManyRequests:
            continue
        sent.append(SentCode("c", "", "k1", "login", times.millis(now), ME))
        taken.append(now)
    assert all(b - a >= codes.PAUSE for a, b in pairwise(taken))
    assert all(b - a >= codes.HOUR for a, b in zip(taken, taken[5:], strict=False))


def test_a_message_fits_into_one_sms_and_names_the_purpose_of_its_code() -> None:
    says = {"login": "log in", "link": "adds", "confirm": "confirms", "reset": "resets"}
    for purpose in Purpose:
        for known in (True, False):
            _, text = codes.message(purpose, "123456", known=known)
            assert len(text) <= 160
            assert text.isascii()
            has_code = known or purpose is not Purpose.RESET
            assert ("123456" in text) == has_code
            assert not has_code or (says[purpose] in text and "Do not share" in text)
