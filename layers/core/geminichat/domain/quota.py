"""How many prompts a plan allows in a day and in a moment, and how an answer says so."""

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
    """Prompts left today; None where the plan has no daily limit."""
    limit = DAILY_PROMPTS[plan]
    return None if limit is None else max(0, limit - counted)


class Usage(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A user's prompts of this UTC day, as the wire shows them; null where there is no limit."""

    limit: int | None
    used: int
    remaining: int | None
    resets_at: str


class Burst(msgspec.Struct, frozen=True):
    """How many prompts a user may send in a window of seconds; one window follows another."""

    prompts: int
    """0 means no limit."""
    seconds: int

    def bounds(self, plan: Plan) -> bool:
        """Say whether it can be met at all: a plan's day may allow no more in the first place."""
        daily = DAILY_PROMPTS[plan]
        return self.prompts > 0 and (daily is None or self.prompts < daily)

    def began(self, now: datetime) -> datetime:
        """Return when the window of this moment began."""
        return datetime.fromtimestamp(int(now.timestamp()) // self.seconds * self.seconds, UTC)

    def ends(self, now: datetime) -> datetime:
        """Return when the next window begins."""
        return self.began(now) + timedelta(seconds=self.seconds)


class Limit(StrEnum):
    """What a user may have reached; headers know them by these names."""

    TOKENS = "tokens"
    DAY = "day"
    BURST = "burst"


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """A user's plan and the prompts counted on a day, the one being admitted included."""

    user_id: str
    day: str
    plan: Plan
    counted: int
    now: datetime
    burst: Burst
    sent: int = 0
    """Counted in the window of the burst limit."""
    tokens: int = 0
    """Used on the day, as far as the table was asked."""
    token_limit: int = 0
    """Tokens a day on pro; 0 means no limit."""

    @property
    def limit(self) -> int | None:
        """Prompts a day; None where the plan has no daily limit."""
        return DAILY_PROMPTS[self.plan]

    @property
    def reached(self) -> Limit | None:
        """Which limit allows no further prompt; None where there is room for one."""
        if self.counts_tokens and self.tokens >= self.token_limit:
            return Limit.TOKENS
        if remaining(self.plan, self.counted) == 0:
            return Limit.DAY
        if self.counts_burst and self.sent >= self.burst.prompts:
            return Limit.BURST
        return None

    @property
    def counts_tokens(self) -> bool:
        """Whether the day's tokens are limited."""
        return self.plan is Plan.PRO and self.token_limit > 0

    @property
    def counts_burst(self) -> bool:
        """Whether prompts are counted in short windows too."""
        return self.burst.bounds(self.plan)

    def ends(self, limit: Limit) -> datetime:
        """Return when a limit starts anew."""
        return self.burst.ends(self.now) if limit is Limit.BURST else times.next_day(self.now)

    def with_one_more(self) -> "Allowance":
        """Return the allowance with one more prompt counted."""
        return msgspec.structs.replace(self, counted=self.counted + 1, sent=self.sent + 1)

    def usage(self) -> Usage:
        """Return what the wire shows of it."""
        return Usage(
            limit=self.limit,
            used=self.counted,
            remaining=remaining(self.plan, self.counted),
            resets_at=times.text(times.next_day(self.now)),
        )

    def headers(self) -> dict[str, str]:
        """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
        policies: list[str] = []
        left: list[str] = []
        tomorrow = _seconds(self.now, self.ends(Limit.DAY))
        if self.counts_tokens:
            policies.append(f'"{Limit.TOKENS}";q={self.token_limit};w={DAY}')
            if self.reached is Limit.TOKENS:  # what is left of them is only known then
                left.append(f'"{Limit.TOKENS}";r=0;t={tomorrow}')
        if self.limit is not None:
            policies.append(f'"{Limit.DAY}";q={self.limit};w={DAY}')
            left.append(f'"{Limit.DAY}";r={remaining(self.plan, self.counted)};t={tomorrow}')
        if self.counts_burst:
            room = max(0, self.burst.prompts - self.sent)
            policies.append(f'"{Limit.BURST}";q={self.burst.prompts};w={self.burst.seconds}')
            ends = _seconds(self.now, self.ends(Limit.BURST))
            left.append(f'"{Limit.BURST}";r={room};t={ends}')
        said = {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(left)}
        return {name: limits for name, limits in said.items() if limits}

    def refusal(self) -> TooManyRequests:
        """Return the error that tells a user which limit is reached, and for how long."""
        limit = self.reached or Limit.DAY
        ends = self.ends(limit)
        resets_at = times.text(ends)
        refused: type[TooManyRequests] = QuotaExceeded
        detail = (
            f"The {self.plan} plan allows {self.limit} prompts a day and they are used up. "
            f"It starts anew at {resets_at}; the pro plan has no daily limit."
        )
        if limit is Limit.TOKENS:
            refused = OutOfTokens
            detail = (
                f"Today's {self.token_limit:,} tokens are used up. It starts anew at {resets_at}."
            )
        if limit is Limit.BURST:
            refused = TooManyRequests
            detail = (
                f"No more than {self.burst.prompts} prompts are taken in {self.burst.seconds} s. "
                f"Send this one again at {resets_at}."
            )
        return refused(
            detail,
            retry_after=_seconds(self.now, ends),
            headers=self.headers(),
            extensions={"resetsAt": resets_at},
        )


def _seconds(now: datetime, until: datetime) -> int:
    """Whole seconds from one moment to another, rounded up."""
    return math.ceil((until - now).total_seconds())
