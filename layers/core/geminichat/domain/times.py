"""Moments as the wire and the tables write them: RFC 3339, UTC, milliseconds, `Z`."""

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """Return this moment. HTTP handlers use the request's own time instead."""
    return datetime.now(UTC)


def text(moment: datetime) -> str:
    """Return the moment as `2026-11-23T09:30:00.000Z`; such texts sort as their moments do."""
    # Python's own format, in a fifth of the time that strftime takes for it.
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def parse(written: str) -> datetime:
    """Return the moment that `text` wrote."""
    return datetime.fromisoformat(written)


def day(moment: datetime) -> str:
    """Return the UTC day a quota belongs to, such as `2026-11-23`."""
    return moment.astimezone(UTC).date().isoformat()


def next_day(moment: datetime) -> datetime:
    """Return the midnight (UTC) at which the day's quota starts anew."""
    utc = moment.astimezone(UTC)
    return utc.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
