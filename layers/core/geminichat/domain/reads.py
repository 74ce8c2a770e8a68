"""The limit of reads per user, counted in the memory of one sandbox.

Counting needs no network call and works without Redis. Every sandbox of every function has its own
counts, so the limit is only approximate. The limit is far above the needs of a client, and prevents
one user from reading the tables as fast as the API allows.
"""

from collections import Counter
from datetime import datetime

READS = 600
"""Reads per user, minute and sandbox; a client that polls four times per second sends 240."""
WINDOW = 60
"""Seconds."""


class ReadCounts:
    """The number of reads per user in the current minute."""

    def __init__(self) -> None:
        self._window = 0
        self._counts: Counter[str] = Counter()

    def count(self, user_id: str, now: datetime) -> int:
        """Count a read; return 0 if it is allowed, else the seconds until the next minute."""
        window, since = divmod(int(now.timestamp()), WINDOW)
        if window != self._window:
            self._window = window
            self._counts.clear()
        self._counts[user_id] += 1
        return 0 if self._counts[user_id] <= READS else WINDOW - since
