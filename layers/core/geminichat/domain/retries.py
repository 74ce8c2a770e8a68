"""How long to wait before a prompt is tried again."""

import math
from datetime import datetime, timedelta
from enum import StrEnum

MAX_AGE = timedelta(hours=24)
"""After this a prompt that has still no reply is failed, whatever held it up."""

MAX_PAUSE = 15 * 60.0
"""Seconds; the longest pause of our own choice."""

MAX_NAMED_PAUSE = 6 * 60 * 60.0
"""Seconds; the longest that Gemini may name. SQS hides a message for twelve hours at most."""


def pause(attempt: int, first: float, named: float | None, chance: float) -> int:
    """Return whole seconds to wait after attempt number `attempt` failed.

    Pauses double from `first`, with up to a quarter of jitter (`chance`, 0 to 1, decides), up to
    fifteen minutes, and are never shorter than the pause that Gemini named, up to six hours.
    """
    growing = first * 2.0 ** min(attempt - 1, 20) * (1 + 0.25 * chance)
    told = (named or 0) + chance
    return math.ceil(max(min(growing, MAX_PAUSE), min(told, MAX_NAMED_PAUSE), 1))


class Verdict(StrEnum):
    """What to do about a prompt that has been unfinished for long."""

    WAIT = "waiting"
    QUEUE = "queued"
    FAIL = "failed"


def verdict(
    *,
    sent: datetime,
    attempts: int,
    leased_until: datetime | None,
    max_attempts: int,
    now: datetime,
) -> Verdict:
    """Say whether an unfinished prompt is being worked on, to be queued again, or outlived."""
    if leased_until and leased_until >= now:
        return Verdict.WAIT
    if attempts >= max_attempts or now - sent > MAX_AGE:
        return Verdict.FAIL
    return Verdict.QUEUE
