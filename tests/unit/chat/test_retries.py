"""How long a prompt waits between attempts, and what becomes of one that was left lying."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.retries import MAX_AGE, MAX_NAMED_PAUSE, MAX_PAUSE, Verdict, pause, verdict

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"),
    [
        (1, 0.0, 4),
        (1, 1.0, 5),
        (2, 0.0, 8),
        (3, 0.0, 16),
        (3, 1.0, 20),
        (6, 0.0, 128),
        (8, 0.0, 512),
        (9, 0.0, 900),
        (1_000_000, 1.0, 900),
    ],
)
def test_pauses_double_up_to_a_quarter_of_an_hour(
    attempt: int, chance: float, seconds: int
) -> None:
    assert pause(attempt, 4, None, chance) == seconds


@pytest.mark.parametrize(
    ("named", "seconds"),
    [
        (0.0, 4),
        (3.9, 4),
        (4.1, 5),
        (60.0, 60),
        (MAX_NAMED_PAUSE, 21_600),
        (MAX_NAMED_PAUSE + 1, 21_600),
        (1e12, 21_600),
    ],
)
def test_the_pause_that_gemini_names_is_the_least_up_to_six_hours(
    named: float, seconds: int
) -> None:
    assert pause(1, 4, named, 0.0) == seconds


@given(
    attempt=st.integers(1, 10_000),
    first=st.integers(1, 60),
    named=st.none() | st.floats(0, 1e15),
    chance=st.floats(0, 1),
)
def test_a_pause_is_whole_seconds_that_sqs_takes_and_never_shorter_than_it_was_told(
    attempt: int, first: int, named: float | None, chance: float
) -> None:
    seconds = pause(attempt, first, named, chance)
    assert isinstance(seconds, int)
    assert 1 <= seconds <= 43_200
    assert seconds >= min(named or 0, MAX_NAMED_PAUSE)
    assert seconds >= min(first, MAX_PAUSE)
    assert seconds <= pause(attempt + 1, first, named, chance)


def judge(
    *,
    age: timedelta = timedelta(minutes=5),
    attempts: int = 0,
    leased_for: timedelta | None = None,
) -> Verdict:
    return verdict(
        sent=NOON - age,
        attempts=attempts,
        leased_until=NOON + leased_for if leased_for is not None else None,
        max_attempts=6,
        now=NOON,
    )


def test_a_prompt_that_nobody_works_on_is_queued_again() -> None:
    assert judge() is Verdict.QUEUE
    assert judge(attempts=5) is Verdict.QUEUE
    assert judge(age=MAX_AGE) is Verdict.QUEUE


def test_one_that_outlived_its_attempts_or_a_day_fails() -> None:
    assert judge(attempts=6) is Verdict.FAIL
    assert judge(attempts=7) is Verdict.FAIL
    assert judge(age=MAX_AGE + MILLISECOND) is Verdict.FAIL


def test_who_holds_a_lease_is_waited_for_whatever_the_rest() -> None:
    assert judge(leased_for=timedelta(0)) is Verdict.WAIT
    assert judge(attempts=9, age=2 * MAX_AGE, leased_for=MILLISECOND) is Verdict.WAIT
    assert judge(leased_for=-MILLISECOND) is Verdict.QUEUE
    assert judge(attempts=6, leased_for=-MILLISECOND) is Verdict.FAIL
