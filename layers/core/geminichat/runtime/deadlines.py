"""One deadline for all calls of a request that is in a hurry itself, whatever theirs are."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_over_at: ContextVar[float] = ContextVar("over_at", default=math.inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Have every call that the block makes in this thread end within so many seconds from now."""
    token = _over_at.set(min(_over_at.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _over_at.reset(token)


def time_left() -> float:
    """Return the seconds that calls may still take here: infinite where nobody is in a hurry."""
    return _over_at.get() - time.monotonic()
