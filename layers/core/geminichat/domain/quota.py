"""Prompt limits: per day by plan, and per short window; and the headers that report them."""

import math
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.errors import OutOfTokens, QuotaExceeded, TooManyRequests

DAILY_PROMPTS: dict[Plan, int | None] = {Plan.BASIC: 5, Plan.PRO: None}
DAY = 86_400


def remaining(plan: Plan, counted: int) -> int | None:
    """Return the prompts left today, or None if the plan has no daily limit."""
    limit = DAILY_PROMPTS[plan]
    return None if limit is None else max(0, limit - counted)


class Usage(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A user's prompts of this UTC day as the wire shows them; null means no limit."""

    limit: int | None
    used: int
    remaining: int | None
    resets_at: str


class Burst(msgspec.Struct, frozen=True):
    """The prompts that a user may send per window of `seconds`; windows follow each other."""

    prompts: int
    """0 means no limit."""
    seconds: int

    def is_effective(self, plan: Plan) -> bool:
        """Return whether the limit is below the plan's daily limit."""
        daily = DAILY_PROMPTS[plan]
        return self.prompts > 0 and (daily is None or self.prompts < daily)

    def window_start(self, now: datetime) -> datetime:
        """Return the start of the current window."""
        return datetime.fromtimestamp(int(now.timestamp()) // self.seconds * self.seconds, UTC)

    def window_end(self, now: datetime) -> datetime:
        """Return the start of the next window."""
        return self.window_start(now) + timedelta(seconds=self.seconds)


class Limit(StrEnum):
    """The limits, by their names in the RateLimit headers."""

    TOKENS = "tokens"
    DAY = "day"
    BURST = "burst"


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """A user's plan, limits and counts at `now`."""

    user_id: str
    day: str
    plan: Plan
    counted: int
    """Prompts counted on the day."""
    now: datetime
    burst: Burst
    sent: int = 0
    """Prompts counted in the current burst window."""
    tokens: int = 0
    """Tokens used on the day; 0 if only the cache was read."""
    token_limit: int = 0
    """Tokens per day on pro; 0 means no limit."""

    @property
    def limit(self) -> int | None:
        """Prompts per day, or None if the plan has no daily limit."""
        return DAILY_PROMPTS[self.plan]

    @property
    def reached(self) -> Limit | None:
        """The limit that is reached, or None if one more prompt is allowed."""
        if self.has_token_limit and self.tokens >= self.token_limit:
            return Limit.TOKENS
        if remaining(self.plan, self.counted) == 0:
            return Limit.DAY
        if self.has_burst_limit and self.sent >= self.burst.prompts:
            return Limit.BURST
        return None

    @property
    def has_token_limit(self) -> bool:
        """Whether the day's tokens are limited."""
        return self.plan is Plan.PRO and self.token_limit > 0

    @property
    def has_burst_limit(self) -> bool:
        """Whether prompts are limited per burst window too."""
        return self.burst.is_effective(self.plan)

    def reset_time(self, limit: Limit) -> datetime:
        """Return when a limit resets."""
        return self.burst.window_end(self.now) if limit is Limit.BURST else times.next_day(self.now)

    def count_prompt(self) -> "Allowance":
        """Return the allowance with one more prompt counted."""
        return msgspec.structs.replace(self, counted=self.counted + 1, sent=self.sent + 1)

    def usage(self) -> Usage:
        """Return the day's usage as the wire shows it."""
        return Usage(
            limit=self.limit,
            used=self.counted,
            remaining=remaining(self.plan, self.counted),
            resets_at=times.text(times.next_day(self.now)),
        )

    def headers(self) -> dict[str, str]:
        """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
        policies: list[str] = []
        limits: list[str] = []
        tomorrow = _seconds(self.now, self.reset_time(Limit.DAY))
        if self.has_token_limit:
            policies.append(f'"{Limit.TOKENS}";q={self.token_limit};w={DAY}')
            if self.reached is Limit.TOKENS:  # the tokens left are unknown otherwise
                limits.append(f'"{Limit.TOKENS}";r=0;t={tomorrow}')
        if self.limit is not None:
            policies.append(f'"{Limit.DAY}";q={self.limit};w={DAY}')
            limits.append(f'"{Limit.DAY}";r={remaining(self.plan, self.counted)};t={tomorrow}')
        if self.has_burst_limit:
            left = max(0, self.burst.prompts - self.sent)
            policies.append(f'"{Limit.BURST}";q={self.burst.prompts};w={self.burst.seconds}')
            seconds = _seconds(self.now, self.reset_time(Limit.BURST))
            limits.append(f'"{Limit.BURST}";r={left};t={seconds}')
        headers = {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(limits)}
        return {name: value for name, value in headers.items() if value}

    def refusal(self) -> TooManyRequests:
        """Return the error that names the reached limit and the time of its reset."""
        limit = self.reached or Limit.DAY
        resets = self.reset_time(limit)
        resets_at = times.text(resets)
        error: type[TooManyRequests] = QuotaExceeded
        detail = (
            f"The {self.plan} plan's {self.limit} prompts per day are used up. "
            f"The quota resets at {resets_at}; the pro plan has no daily limit."
        )
        if limit is Limit.TOKENS:
            error = OutOfTokens
            detail = (
                f"Today's {self.token_limit:,} tokens are used up. The quota resets at {resets_at}."
            )
        if limit is Limit.BURST:
            error = TooManyRequests
            detail = (
                f"At most {self.burst.prompts} prompts are accepted per {self.burst.seconds} s. "
                f"Send this one again at {resets_at}."
            )
        return error(
            detail,
            retry_after=_seconds(self.now, resets),
            headers=self.headers(),
            extensions={"resetsAt": resets_at},
        )


def _seconds(now: datetime, until: datetime) -> int:
    """Return the whole seconds from one time to another, rounded up."""
    return math.ceil((until - now).total_seconds())
