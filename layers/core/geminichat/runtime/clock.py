"""The clock. HTTP handlers use the request's own time instead."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)
