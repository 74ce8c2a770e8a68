"""Limits on guesses of secrets and on actions that cost money, counted in the limits table.

There are two kinds. A *window* allows a number of events in each hour or day. A *pause* counts
failures in a row: after the first few failures, each failure starts a pause, which is twice as long
as the previous pause.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Self

import msgspec

from geminichat.domain.addresses import networks

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A count of events and its quota; `name` is unique among the limits of a request."""

    name: str
    key: str
    """The key of the count in the limits table."""
    quota: int
    count: int = 0
    """The events that were counted so far."""
    at: int = 0
    """The epoch second of the latest event."""
    policy: str = ""
    """The name in RateLimit-Policy; empty for a limit that several callers share."""

    def wait(self, now: datetime) -> int:
        """Return the seconds until another event is allowed."""
        raise NotImplementedError

    def seconds(self, now: datetime) -> int:
        """Return the seconds until the count is reset."""
        raise NotImplementedError

    @property
    def length(self) -> int:
        """The length of the window in seconds, for RateLimit-Policy."""
        raise NotImplementedError

    @property
    def left(self) -> int:
        """The number of events that are allowed before the limit is reached."""
        return max(0, self.quota - self.count)

    def count_events(self, events: int) -> Self:
        """Return the limit with more events counted."""
        return msgspec.structs.replace(self, count=max(0, self.count + events))


class Window(Limit, frozen=True, kw_only=True):
    """A limit on the events in a window of time; the key contains the window's number."""

    ends_at: int
    """An epoch second."""
    span: int
    """Seconds."""

    def wait(self, now: datetime) -> int:
        return 0 if self.left else self.seconds(now)

    def seconds(self, now: datetime) -> int:
        return max(1, math.ceil(self.ends_at - now.timestamp()))

    @property
    def expires_at(self) -> int:
        """The epoch second after which the count is deleted."""
        return self.ends_at + self.span

    @property
    def length(self) -> int:
        return self.span


class Pause(Limit, frozen=True, kw_only=True):
    """A limit on failures in a row; each failure beyond the quota starts a pause."""

    first: int
    """Seconds of the first pause; each later pause is twice as long as the previous one."""
    longest: int
    kept: int
    """Seconds without a failure after which the count starts at zero again."""

    def wait(self, now: datetime) -> int:
        pause = self.pause(self.count)
        return max(0, math.ceil(self.at + pause - now.timestamp())) if pause else 0

    @property
    def is_single(self) -> bool:
        """Whether all pauses are equally long; then the count restarts at zero after a pause."""
        return self.first == self.longest

    def is_over(self, now: datetime) -> bool:
        """Return whether `is_single` is true and the pause after the last failure is over."""
        return self.is_single and self.count > self.quota and not self.wait(now)

    def count_failure(self, now: datetime) -> Self:
        """Return the limit with one more failure counted."""
        return msgspec.structs.replace(self, count=self.count + 1, at=int(now.timestamp()))

    def pause(self, count: int) -> int:
        """Return the length of the pause after this many failures, in seconds."""
        over = count - self.quota
        return 0 if over <= 0 else min(self.first * 2 ** min(over - 1, 20), self.longest)

    def seconds(self, now: datetime) -> int:
        return max(0, self.at + self.kept - int(now.timestamp())) if self.count else 0

    def expiry(self, now: datetime) -> int:
        """Return the epoch second at which the count expires if it changes at `now`."""
        return int(now.timestamp()) + self.kept

    @property
    def length(self) -> int:
        return self.kept


def window(
    purpose: str, who: str, quota: int, span: timedelta, now: datetime, *, policy: str = ""
) -> Window:
    """Return a limit per hour or day for one caller, identity or stage."""
    length = int(span.total_seconds())
    number = int(now.timestamp()) // length
    return Window(
        name=purpose,
        key=f"{purpose}:{who}:{number}",
        quota=quota,
        ends_at=(number + 1) * length,
        span=length,
        policy=policy,
    )


def address_windows(
    purpose: str, source: str, quota: int, span: timedelta, now: datetime
) -> list[Window]:
    """Return the limits on requests from an IP address; none if the quota is 0.

    An IPv6 address counts in its /64, /56 and /48 network; the headers show only the /64 limit.
    """
    if not quota:
        return []
    return [
        msgspec.structs.replace(
            window(f"{purpose}{network.prefix}", network.name, quota * network.factor, span, now),
            policy="" if place else "address",
        )
        for place, network in enumerate(networks(source))
    ]


def headers(limits: Iterable[Limit], now: datetime) -> Mapping[str, str]:
    """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10).

    Limits that several callers share are left out.
    """
    shown = [limit for limit in limits if limit.policy]
    if not shown:
        return {}
    return {
        "ratelimit-policy": ", ".join(
            f'"{limit.policy}";q={limit.quota};w={limit.length}' for limit in shown
        ),
        "ratelimit": ", ".join(
            f'"{limit.policy}";r={limit.left};t={limit.seconds(now)}' for limit in shown
        ),
    }


def join_headers(*headers: Mapping[str, str]) -> Mapping[str, str]:
    """Join several pairs of RateLimit and RateLimit-Policy headers into one pair."""
    names = {name: None for one in headers for name in one}
    return {name: ", ".join(filter(None, (one.get(name) for one in headers))) for name in names}
