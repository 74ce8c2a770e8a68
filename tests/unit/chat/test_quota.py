"""Prompt limits: the limit that is reached first, and its report in headers and refusals."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.plans import Plan
from geminichat.domain.quota import Allowance, Burst, Limit, PlanLimits, remaining
from geminichat.errors import (
    OutOfTokens,
    QuotaExceeded,
    SpendingLimit,
    TooManyAttempts,
    TooManyInFlight,
    TooManyRequests,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TWENTY = Burst(prompts=20, seconds=10)
NO_LIMIT = Burst(prompts=0, seconds=10)
LIMITS = {
    Plan.BASIC: PlanLimits(attempts=15, in_flight=3, spending=500_000),
    Plan.PRO: PlanLimits(attempts=2_000, in_flight=20, spending=5_000_000),
}


def allowance(plan: Plan = Plan.PRO, counted: int = 0, **more: Any) -> Allowance:
    given: dict[str, Any] = {"now": NOON, "burst": TWENTY, "plan_limits": LIMITS} | more
    return Allowance(user_id="u_1", day="2026-11-23", plan=plan, counted=counted, **given)


@pytest.mark.parametrize(("counted", "left"), [(0, 5), (4, 1), (5, 0), (6, 0)])
def test_the_basic_plan_has_five_prompts_per_day_and_the_remaining_number_is_never_negative(
    counted: int, left: int
) -> None:
    assert remaining(Plan.BASIC, counted) == left
    assert remaining(Plan.PRO, counted) is None


@pytest.mark.parametrize(
    ("known", "reached"),
    [
        (allowance(Plan.BASIC, 4), None),
        (allowance(Plan.BASIC, 5), Limit.DAY),
        (allowance(Plan.BASIC, 4, sent=99), None),
        (allowance(Plan.BASIC, 1, sent=2, burst=Burst(2, 10)), Limit.BURST),
        (allowance(Plan.BASIC, 5, sent=2, burst=Burst(2, 10)), Limit.DAY),
        (allowance(Plan.BASIC, 4, output_tokens=9, token_limit=9), None),
        (allowance(Plan.PRO, 10_000), None),
        (allowance(Plan.PRO, sent=19), None),
        (allowance(Plan.PRO, sent=20), Limit.BURST),
        (allowance(Plan.PRO, sent=10_000, burst=NO_LIMIT), None),
        (allowance(Plan.PRO, output_tokens=8, token_limit=9), None),
        (allowance(Plan.PRO, output_tokens=9, token_limit=9), Limit.TOKENS),
        (allowance(Plan.PRO, output_tokens=9, token_limit=9, sent=20), Limit.TOKENS),
        (allowance(Plan.PRO, output_tokens=10_000, token_limit=0), None),
        (allowance(Plan.BASIC, 4, attempts=14), None),
        (allowance(Plan.BASIC, 4, attempts=15), Limit.ATTEMPTS),
        (allowance(Plan.BASIC, 5, attempts=15), Limit.DAY),
        (allowance(Plan.BASIC, 4, in_flight=2), None),
        (allowance(Plan.BASIC, 4, in_flight=3), Limit.IN_FLIGHT),
        (allowance(Plan.BASIC, 4, in_flight=3, attempts=15), Limit.ATTEMPTS),
        (allowance(Plan.PRO, in_flight=19), None),
        (allowance(Plan.PRO, in_flight=20), Limit.IN_FLIGHT),
        (allowance(Plan.PRO, in_flight=20, sent=20), Limit.BURST),
        (allowance(Plan.BASIC, committed=499_999), None),
        (allowance(Plan.BASIC, committed=500_000), Limit.SPENDING),
        (allowance(Plan.BASIC, committed=400_000, amount=100_000), None),
        (allowance(Plan.BASIC, committed=400_000, amount=100_001), Limit.SPENDING),
        (allowance(Plan.BASIC, 5, committed=500_000), Limit.SPENDING),
    ],
)
def test_a_limit_is_reached_if_no_further_prompt_is_allowed(
    known: Allowance, reached: Limit | None
) -> None:
    assert known.reached is reached


@pytest.mark.parametrize(
    ("prompts", "attempts", "applies"),
    [(0, 2_000, False), (1, 2_000, True), (14, 15, True), (15, 15, False), (20, 15, False)],
)
def test_a_burst_limit_applies_only_if_it_is_below_the_daily_attempts(
    prompts: int, attempts: int, applies: bool
) -> None:
    assert Burst(prompts, 10).is_effective(attempts) is applies


@pytest.mark.parametrize(
    ("seconds_past", "left"), [(0, 10), (0.001, 10), (1, 9), (9, 1), (9.999, 1), (10, 10)]
)
def test_the_seconds_left_of_a_burst_window_are_rounded_up(seconds_past: float, left: int) -> None:
    known = allowance(sent=1, now=NOON + timedelta(seconds=seconds_past))
    assert known.headers()["ratelimit"] == f'"burst";r=19;t={left}'


@given(
    moment=st.timedeltas(timedelta(0), timedelta(days=80_000)).map(lambda later: NOON + later),
    seconds=st.integers(1, 3600),
)
def test_every_moment_is_in_exactly_one_burst_window(moment: datetime, seconds: int) -> None:
    burst = Burst(1, seconds)
    start, end = burst.window_start(moment), burst.window_end(moment)
    assert start <= moment < end
    assert end - start == timedelta(seconds=seconds)
    assert start.microsecond == 0
    assert burst.window_start(start) == start
    assert burst.window_start(end - timedelta(milliseconds=1)) == start
    assert burst.window_start(end) == end


def test_headers_report_the_daily_limit_on_basic_and_the_burst_limit_on_pro() -> None:
    assert allowance(Plan.BASIC, 2, sent=2).headers() == {
        "ratelimit-policy": '"day";q=5;w=86400',
        "ratelimit": '"day";r=3;t=43200',
    }
    assert allowance(sent=21).headers() == {
        "ratelimit-policy": '"burst";q=20;w=10',
        "ratelimit": '"burst";r=0;t=10',
    }
    assert allowance(burst=NO_LIMIT).headers() == {}


def test_the_token_limit_is_not_reported_before_it_is_reached() -> None:
    policy = '"tokens";q=9;w=86400, "burst";q=20;w=10'
    assert allowance(output_tokens=8, token_limit=9).headers() == {
        "ratelimit-policy": policy,
        "ratelimit": '"burst";r=20;t=10',
    }
    assert allowance(output_tokens=9, token_limit=9).headers() == {
        "ratelimit-policy": policy,
        "ratelimit": '"tokens";r=0;t=43200, "burst";r=20;t=10',
    }


MIDNIGHT = "2026-11-24T00:00:00.000Z"


@pytest.mark.parametrize(
    ("known", "error", "resets_at", "seconds"),
    [
        (allowance(Plan.BASIC, 5), QuotaExceeded, MIDNIGHT, 43_200),
        (allowance(output_tokens=9, token_limit=9), OutOfTokens, MIDNIGHT, 43_200),
        (allowance(sent=20), TooManyRequests, "2026-11-23T12:00:10.000Z", 10),
        (allowance(Plan.BASIC, attempts=15), TooManyAttempts, MIDNIGHT, 43_200),
        (allowance(in_flight=20), TooManyInFlight, "2026-11-23T12:00:05.000Z", 5),
        (allowance(committed=5_000_000), SpendingLimit, MIDNIGHT, 43_200),
        (
            allowance(committed=5_000_000, reserved=1_000, amount=1_000),
            SpendingLimit,
            "2026-11-23T12:00:05.000Z",
            5,
        ),
        (
            allowance(committed=5_000_000, reserved=999, amount=1_000),
            SpendingLimit,
            MIDNIGHT,
            43_200,
        ),
    ],
)
def test_the_refusal_of_a_prompt_names_the_limit_and_its_reset(
    known: Allowance, error: type[TooManyRequests], resets_at: str, seconds: int
) -> None:
    refusal = known.refusal()
    assert type(refusal) is error
    assert refusal.extensions == {"resetsAt": resets_at}
    assert resets_at in refusal.detail or error is TooManyInFlight
    assert refusal.headers == {"retry-after": str(seconds), **known.headers()}


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (datetime(2026, 11, 23, tzinfo=UTC), 86_400),
        (datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC), 1),
        (datetime(2026, 11, 23, 23, 59, 59, 999_000, tzinfo=UTC), 1),
        (datetime(2026, 11, 24, 5, tzinfo=timezone(timedelta(hours=6))), 3_600),
    ],
)
def test_the_daily_quota_resets_at_midnight_utc(now: datetime, seconds: int) -> None:
    refusal = allowance(Plan.BASIC, 5, now=now).refusal()
    assert refusal.headers["retry-after"] == str(seconds)
    assert refusal.extensions["resetsAt"] == MIDNIGHT


def test_a_prompt_counts_towards_the_day_and_the_burst_window() -> None:
    known = allowance(Plan.BASIC, 4, sent=1).count_prompt()
    assert (known.counted, known.sent, known.usage().remaining) == (5, 2, 0)


def test_a_missing_limit_is_null_on_the_wire() -> None:
    usage = allowance(Plan.PRO, 7).usage()
    assert (usage.limit, usage.used, usage.remaining, usage.resets_at) == (None, 7, None, MIDNIGHT)


def test_usage_shows_tokens_and_dollars_but_no_reserved_dollars() -> None:
    usage = allowance(
        Plan.BASIC, 2, input_tokens=30, output_tokens=70, committed=120_500, reserved=20_000
    ).usage()
    assert (usage.input_tokens, usage.output_tokens) == (30, 70)
    assert (usage.spent_usd, usage.spending_limit_usd) == (0.1005, 0.5)
