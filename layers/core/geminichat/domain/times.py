"""Times as the API and the tables write them: RFC 3339, UTC, milliseconds, `Z`."""

import math
from datetime import UTC, datetime, timedelta


def text(moment: datetime) -> str:
    """Return the time as `2026-11-23T09:30:00.000Z`; such texts sort like their times."""
    # isoformat takes a fifth of strftime's time.
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def of_epoch(second: float) -> str:
    """Return an epoch second as `text` writes it."""
    return text(datetime.fromtimestamp(second, UTC))


def millis(moment: datetime) -> int:
    """Return the time in milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def parse(written: str) -> datetime:
    """Parse a time that `text` wrote."""
    return datetime.fromisoformat(written)


def seconds_until(moment: datetime, now: datetime) -> int:
    """Return the whole seconds from `now` to a time, rounded up."""
    return math.ceil((moment - now).total_seconds())


def day(moment: datetime) -> str:
    """Return the UTC day of a time, such as `2026-11-23`; quotas are counted per UTC day."""
    return moment.astimezone(UTC).date().isoformat()


def next_day(moment: datetime) -> datetime:
    """Return the next midnight (UTC), at which daily quotas reset."""
    utc = moment.astimezone(UTC)
    return utc.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
