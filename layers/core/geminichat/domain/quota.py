"""How many prompts a plan allows in a day, and how an answer says so."""

import math
from datetime import datetime

import msgspec

from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.errors import OutOfTokens, QuotaExceeded

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


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """A user's plan and the prompts counted on a day, the one being admitted included."""

    user_id: str
    day: str
    plan: Plan
    counted: int
    now: datetime
    tokens: int = 0
    """Used on the day, as far as the table was asked."""
    token_limit: int = 0
    """Tokens a day on pro; 0 means no limit."""

    @property
    def limit(self) -> int | None:
        """Prompts a day; None where the plan has no daily limit."""
        return DAILY_PROMPTS[self.plan]

    @property
    def exhausted(self) -> bool:
        """Whether no further prompt may be counted."""
        return remaining(self.plan, self.counted) == 0 or self.out_of_tokens

    @property
    def counts_tokens(self) -> bool:
        """Whether the day's tokens are limited."""
        return self.plan is Plan.PRO and self.token_limit > 0

    @property
    def out_of_tokens(self) -> bool:
        """Whether the day's tokens are used up."""
        return self.counts_tokens and self.tokens >= self.token_limit

    def with_one_more(self) -> "Allowance":
        """Return the allowance with one more prompt counted."""
        return msgspec.structs.replace(self, counted=self.counted + 1)

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
        left = remaining(self.plan, self.counted)
        if self.counts_tokens:
            policy = {"ratelimit-policy": f'"tokens";q={self.token_limit};w={DAY}'}
            used_up = {"ratelimit": f'"tokens";r=0;t={seconds_to_reset(self.now)}'}
            return policy | (used_up if self.out_of_tokens else {})
        if left is None:
            return {}
        return {
            "ratelimit-policy": f'"day";q={self.limit};w={DAY}',
            "ratelimit": f'"day";r={left};t={seconds_to_reset(self.now)}',
        }

    def refusal(self) -> QuotaExceeded:
        """Return the error that tells a user that the day's prompts, or tokens, are used up."""
        resets_at = times.text(times.next_day(self.now))
        refused: type[QuotaExceeded] = QuotaExceeded
        detail = (
            f"The {self.plan} plan allows {self.limit} prompts a day and they are used up. "
            f"It starts anew at {resets_at}; the pro plan has no daily limit."
        )
        if self.out_of_tokens:
            refused = OutOfTokens
            detail = (
                f"Today's {self.token_limit:,} tokens are used up. It starts anew at {resets_at}."
            )
        return refused(
            detail,
            retry_after=seconds_to_reset(self.now),
            headers=self.headers(),
            extensions={"resetsAt": resets_at},
        )


def seconds_to_reset(now: datetime) -> int:
    """Whole seconds until the day's quota starts anew, rounded up."""
    return math.ceil((times.next_day(now) - now).total_seconds())
