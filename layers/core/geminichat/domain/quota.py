"""Limits on prompts (per day, per short window, in flight, in money) and the RateLimit headers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from geminichat.domain import times
from geminichat.domain.money import MILLION
from geminichat.domain.plans import Plan
from geminichat.errors import (
    AppError,
    IdentityNotProven,
    OutOfTokens,
    QuotaExceeded,
    SpendingLimit,
    StageLimit,
    TooManyAttempts,
    TooManyInFlight,
    TooManyRequests,
)

UNPROVEN_PROMPTS = 5
"""Prompts that an account without a proven identity may send in total."""

DAILY_FORKS = 20
"""Forks per user and day, because a fork writes as much as thousands of prompts."""

REFUSALS: list[type[AppError]] = [
    IdentityNotProven,
    OutOfTokens,
    QuotaExceeded,
    SpendingLimit,
    StageLimit,
    TooManyAttempts,
    TooManyInFlight,
    TooManyRequests,
]
"""The errors with which a limit can refuse a prompt."""

DAILY_PROMPTS: dict[Plan, int | None] = {Plan.BASIC: 5, Plan.PRO: None}
DAY = 86_400

SOON = timedelta(seconds=5)
"""The time to wait before trying again if unfinished prompts use up a limit."""


def remaining(plan: Plan, counted: int) -> int | None:
    """Return the prompts left today, or None if the plan has no daily limit."""
    limit = DAILY_PROMPTS[plan]
    return None if limit is None else max(0, limit - counted)


class PlanLimits(msgspec.Struct, frozen=True):
    """The limits that an operator sets for a plan."""

    attempts: int
    """The most prompts and retries per day; refunds do not lower the count."""
    in_flight: int
    """The most unfinished prompts at the same time."""
    spending: int
    """The most micro-dollars per day."""


class Usage(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A user's usage of this UTC day as the API shows it; a null limit means no limit."""

    limit: int | None
    used: int
    remaining: int | None
    resets_at: str
    input_tokens: int
    output_tokens: int
    spent_usd: float
    """The cost of the answered prompts, in US dollars at the prices of the Gemini API."""
    spending_limit_usd: float


class UsageOfDay(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A user's usage of one day (UTC), in an export."""

    day: str
    prompts: int
    attempts: int
    input_tokens: int
    output_tokens: int
    spent_usd: float


class Burst(msgspec.Struct, frozen=True):
    """The prompts that a user may send per window of `seconds`; windows do not overlap."""

    prompts: int
    """0 means no limit."""
    seconds: int

    def is_effective(self, attempts: int) -> bool:
        """Return whether the limit is low enough to be reached: below the day's `attempts`."""
        return 0 < self.prompts < attempts

    def window_start(self, now: datetime) -> datetime:
        return datetime.fromtimestamp(int(now.timestamp()) // self.seconds * self.seconds, UTC)

    def window_end(self, now: datetime) -> datetime:
        """Return the start of the next window."""
        return self.window_start(now) + timedelta(seconds=self.seconds)


class Limit(StrEnum):
    """The limits on prompts; RateLimit headers show three of them under these names."""

    TOKENS = "tokens"
    SPENDING = "spending"
    DAY = "day"
    ATTEMPTS = "attempts"
    BURST = "burst"
    IN_FLIGHT = "in-flight"


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """A user's plan, limits and counts at `now`.

    If only the cache was read, all counts of the day except `counted` are 0.
    """

    user_id: str
    day: str
    plan: Plan
    counted: int
    """Prompts counted on the day."""
    now: datetime
    burst: Burst
    plan_limits: Mapping[Plan, PlanLimits]
    sent: int = 0
    """Prompts counted in the current burst window."""
    attempts: int = 0
    in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    token_limit: int = 0
    """The most tokens per day on pro; 0 means no limit."""
    committed: int = 0
    """Micro-dollars spent or reserved on the day."""
    reserved: int = 0
    """Micro-dollars reserved for prompts in flight."""
    amount: int = 0
    """Micro-dollars to reserve for the prompt that is being sent."""
    unproven: str = ""
    """A digest of the unproven identity; "" if an identity is proven or the user is on pro."""
    unproven_used: int = 0
    """Prompts that were counted for this identity while it was unproven."""
    unproven_left: int = 0
    """Prompts left for this identity or for all unproven identities together; the lower number."""

    @property
    def limits(self) -> PlanLimits:
        """The limits of the user's plan."""
        return self.plan_limits[self.plan]

    @property
    def limit(self) -> int | None:
        """Prompts per day, or None if the plan has no daily limit."""
        return DAILY_PROMPTS[self.plan]

    @property
    def left(self) -> int | None:
        """The prompts left today, or None if the plan has no daily limit."""
        left = remaining(self.plan, self.counted)
        return min(left, self.unproven_left) if self.unproven and left is not None else left

    @property
    def reached(self) -> Limit | None:
        """The limit that is reached, or None if one more prompt is allowed."""
        tokens = self.input_tokens + self.output_tokens
        if self.has_token_limit and tokens >= self.token_limit:
            return Limit.TOKENS
        if self.committed + max(1, self.amount) > self.limits.spending:
            return Limit.SPENDING
        if remaining(self.plan, self.counted) == 0:
            return Limit.DAY
        if self.attempts >= self.limits.attempts:
            return Limit.ATTEMPTS
        if self.has_burst_limit and self.sent >= self.burst.prompts:
            return Limit.BURST
        if self.in_flight >= self.limits.in_flight:
            return Limit.IN_FLIGHT
        return None

    @property
    def has_token_limit(self) -> bool:
        """Whether the day's tokens are limited."""
        return self.plan is Plan.PRO and self.token_limit > 0

    @property
    def has_burst_limit(self) -> bool:
        """Whether prompts are limited per burst window too."""
        return self.burst.is_effective(self.limits.attempts)

    @property
    def is_too_expensive(self) -> bool:
        """Whether this one prompt could cost more than the user may spend on a day."""
        return self.amount > self.limits.spending

    def reset_time(self, limit: Limit) -> datetime:
        """Return the time at which a limit resets, or at which trying again makes sense."""
        match limit:
            case Limit.BURST:
                return self.burst.window_end(self.now)
            case Limit.IN_FLIGHT:
                return self.now + SOON
            case Limit.SPENDING:
                spent = self.committed - self.reserved
                if spent + max(1, self.amount) <= self.limits.spending:
                    return self.now + SOON
        return times.next_day(self.now)

    def count_prompt(self) -> "Allowance":
        """Return the allowance with one more prompt counted."""
        return msgspec.structs.replace(
            self,
            counted=self.counted + 1,
            sent=self.sent + 1,
            attempts=self.attempts + 1,
            in_flight=self.in_flight + 1,
            unproven_used=self.unproven_used + 1,
            unproven_left=max(0, self.unproven_left - 1),
        )

    def usage(self) -> Usage:
        """Return the day's usage as the API shows it."""
        return Usage(
            limit=self.limit,
            used=self.unproven_used if self.unproven else self.counted,
            remaining=self.left,
            resets_at=times.text(times.next_day(self.now)),
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            spent_usd=(self.committed - self.reserved) / MILLION,
            spending_limit_usd=self.limits.spending / MILLION,
        )

    def headers(self) -> dict[str, str]:
        """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
        policies: list[str] = []
        limits: list[str] = []
        tomorrow = times.seconds_until(self.reset_time(Limit.DAY), self.now)
        if self.has_token_limit:
            policies.append(f'"{Limit.TOKENS}";q={self.token_limit};w={DAY}')
            if self.reached is Limit.TOKENS:  # else the number of tokens left is unknown
                limits.append(f'"{Limit.TOKENS}";r=0;t={tomorrow}')
        if self.limit is not None:
            policies.append(f'"{Limit.DAY}";q={self.limit};w={DAY}')
            limits.append(f'"{Limit.DAY}";r={self.left};t={tomorrow}')
        if self.has_burst_limit:
            left = max(0, self.burst.prompts - self.sent)
            policies.append(f'"{Limit.BURST}";q={self.burst.prompts};w={self.burst.seconds}')
            seconds = times.seconds_until(self.reset_time(Limit.BURST), self.now)
            limits.append(f'"{Limit.BURST}";r={left};t={seconds}')
        headers = {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(limits)}
        return {name: value for name, value in headers.items() if value}

    def refusal(self) -> TooManyRequests:
        """Return the error that names the reached limit and the time of its reset."""
        limit = self.reached or Limit.DAY
        resets = self.reset_time(limit)
        resets_at = times.text(resets)
        error, detail = self._explain(limit, resets_at)
        return error(
            detail,
            retry_after=times.seconds_until(resets, self.now),
            headers=self.headers(),
            extensions={"resetsAt": resets_at},
        )

    def _explain(self, limit: Limit, resets_at: str) -> tuple[type[TooManyRequests], str]:
        """Return the error class for a limit, and a sentence for the user."""
        match limit:
            case Limit.TOKENS:
                return OutOfTokens, (
                    f"Today's {self.token_limit:,} tokens are used up. "
                    f"The quota resets at {resets_at}."
                )
            case Limit.SPENDING:
                return SpendingLimit, (
                    f"This prompt could exceed your plan's ${self.limits.spending / MILLION:.2f} "
                    f"per day. Send a shorter prompt, or send this prompt again at {resets_at}."
                )
            case Limit.ATTEMPTS:
                return TooManyAttempts, (
                    f"At most {self.limits.attempts} prompts and retries are accepted per day. "
                    f"The quota resets at {resets_at}."
                )
            case Limit.BURST:
                return TooManyRequests, (
                    f"At most {self.burst.prompts} prompts are accepted per "
                    f"{self.burst.seconds} s. Send this prompt again at {resets_at}."
                )
            case Limit.IN_FLIGHT:
                return TooManyInFlight, (
                    f"{self.limits.in_flight} of your prompts are being answered. "
                    "Send this prompt again when one of them has finished."
                )
        return QuotaExceeded, (
            f"The {self.plan} plan's {self.limit} prompts per day are used up. "
            f"The quota resets at {resets_at}; the pro plan has no daily limit."
        )
