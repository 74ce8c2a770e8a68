"""Moments of this run's day (UTC)."""

from datetime import UTC, datetime, timedelta

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
MIDNIGHT = NOON.replace(hour=0) + timedelta(days=1)
