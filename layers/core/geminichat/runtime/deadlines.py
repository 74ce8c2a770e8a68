"""One deadline for all network calls of a request; it shortens the deadlines of single calls."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit this thread's network calls in the `with` block to `seconds` in total.

    An outer block's deadline still applies.
    """
    token = _ends_at.set(min(_ends_at.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends_at.reset(token)


def time_left() -> float:
    """Return the seconds that calls may still take, or infinity without a deadline."""
    return _ends_at.get() - time.monotonic()
