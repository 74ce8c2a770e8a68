"""The pauses between the attempts at a prompt, and the sweep's action on an unfinished prompt."""

import math
from datetime import datetime, timedelta
from enum import StrEnum

MAX_AGE = timedelta(hours=24)
"""A prompt without a reply fails after this time, whatever the cause."""

MAX_PAUSE = 15 * 60.0
"""Seconds; the longest pause unless Gemini asks for a longer pause."""

MAX_NAMED_PAUSE = 6 * 60 * 60.0
"""Seconds; the longest pause that Gemini may ask for. SQS hides a message for at most 12 h."""


def pause(attempt: int, first: float, named: float | None, jitter: float) -> int:
    """Return the whole seconds to wait after attempt number `attempt` failed.

    The pause starts at `first` and doubles, up to 15 minutes; `jitter` (0 to 1) adds up to a
    quarter. The pause is at least as long as Gemini asked for, up to six hours.
    """
    growing = first * 2.0 ** min(attempt - 1, 20) * (1 + 0.25 * jitter)
    least = min((named or 0) + jitter, MAX_NAMED_PAUSE)
    return math.ceil(max(min(growing, MAX_PAUSE), least, 1))


class Verdict(StrEnum):
    """The sweep's action on an unfinished prompt."""

    WAIT = "waiting"
    QUEUE = "queued"
    STOP = "stopped"
    FAIL = "failed"


def decide(
    *,
    sent: datetime,
    attempts: int,
    leased_until: datetime | None,
    stop: bool,
    max_attempts: int,
    now: datetime,
) -> Verdict:
    """Return the sweep's verdict on an unfinished prompt; a leased prompt has to wait."""
    if leased_until and leased_until >= now:
        return Verdict.WAIT
    if stop:
        return Verdict.STOP
    if attempts >= max_attempts or now - sent > MAX_AGE:
        return Verdict.FAIL
    return Verdict.QUEUE
