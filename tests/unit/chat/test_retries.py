"""Pauses between attempts, and the sweep's decision on an unfinished prompt."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.retries import MAX_AGE, MAX_NAMED_PAUSE, MAX_PAUSE, Verdict, decide, pause

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("attempt", "jitter", "seconds"),
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
def test_pauses_between_attempts_double_up_to_15_minutes(
    attempt: int, jitter: float, seconds: int
) -> None:
    assert pause(attempt, 4, None, jitter) == seconds


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
def test_geminis_retry_delay_lengthens_a_pause_to_six_hours_at_most(
    named: float, seconds: int
) -> None:
    assert pause(1, 4, named, 0.0) == seconds


@given(
    attempt=st.integers(1, 10_000),
    first=st.integers(1, 60),
    named=st.none() | st.floats(0, 1e15),
    jitter=st.floats(0, 1),
)
def test_a_pause_between_attempts_is_whole_seconds_within_the_limits_of_sqs(
    attempt: int, first: int, named: float | None, jitter: float
) -> None:
    seconds = pause(attempt, first, named, jitter)
    assert isinstance(seconds, int)
    assert 1 <= seconds <= 43_200
    assert seconds >= min(named or 0, MAX_NAMED_PAUSE)
    assert seconds >= min(first, MAX_PAUSE)
    assert seconds <= pause(attempt + 1, first, named, jitter)


def decide_for(
    *,
    age: timedelta = timedelta(minutes=5),
    attempts: int = 0,
    leased_for: timedelta | None = None,
    stop: bool = False,
) -> Verdict:
    return decide(
        sent=NOON - age,
        attempts=attempts,
        leased_until=NOON + leased_for if leased_for is not None else None,
        stop=stop,
        max_attempts=6,
        now=NOON,
    )


def test_a_prompt_without_a_worker_is_queued_again() -> None:
    assert decide_for() is Verdict.QUEUE
    assert decide_for(attempts=5) is Verdict.QUEUE
    assert decide_for(age=MAX_AGE) is Verdict.QUEUE


def test_a_prompt_fails_after_its_last_attempt_or_after_a_day() -> None:
    assert decide_for(attempts=6) is Verdict.FAIL
    assert decide_for(attempts=7) is Verdict.FAIL
    assert decide_for(age=MAX_AGE + MILLISECOND) is Verdict.FAIL


def test_a_prompt_with_a_stop_request_is_stopped_if_its_worker_has_died() -> None:
    assert decide_for(stop=True, attempts=6) is Verdict.STOP
    assert decide_for(stop=True, leased_for=MILLISECOND) is Verdict.WAIT


def test_a_leased_prompt_is_left_to_its_worker() -> None:
    assert decide_for(leased_for=timedelta(0)) is Verdict.WAIT
    assert decide_for(attempts=9, age=2 * MAX_AGE, leased_for=MILLISECOND) is Verdict.WAIT
    assert decide_for(leased_for=-MILLISECOND) is Verdict.QUEUE
    assert decide_for(attempts=6, leased_for=-MILLISECOND) is Verdict.FAIL
