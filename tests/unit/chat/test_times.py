"""Times on the wire are in UTC with milliseconds, and their strings sort in order of time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import times

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
START = datetime(1970, 1, 2, tzinfo=UTC)
MOMENTS = st.builds(
    lambda since, zone: (START + since).astimezone(zone),
    st.timedeltas(timedelta(0), timedelta(days=2_500_000)),
    ZONES,
)
EAST = timezone(timedelta(hours=14))


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 23, 9, 30, tzinfo=UTC), "2026-11-23T09:30:00.000Z"),
        (datetime(2026, 11, 23, 9, 30, 0, 1_999, tzinfo=UTC), "2026-11-23T09:30:00.001Z"),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "2026-12-31T23:59:59.999Z"),
        (datetime(2027, 1, 1, 13, 59, tzinfo=EAST), "2026-12-31T23:59:00.000Z"),
    ],
)
def test_times_are_written_in_utc_and_never_rounded_up(moment: datetime, text: str) -> None:
    assert times.text(moment) == text


@given(MOMENTS)
def test_a_written_time_is_read_to_the_millisecond(moment: datetime) -> None:
    lost = moment - times.parse(times.text(moment))
    assert timedelta(0) <= lost < timedelta(milliseconds=1)


@given(MOMENTS, MOMENTS)
def test_timestamps_sorted_as_strings_are_in_order_of_time(one: datetime, other: datetime) -> None:
    if times.text(one) < times.text(other):
        assert one < other
    if one < other:
        assert times.text(one) <= times.text(other)


@pytest.mark.parametrize(
    ("moment", "day", "following"),
    [
        (datetime(2026, 11, 23, tzinfo=UTC), "2026-11-23", datetime(2026, 11, 24, tzinfo=UTC)),
        (
            datetime(2026, 11, 23, 23, 59, 59, 999_999, tzinfo=UTC),
            "2026-11-23",
            datetime(2026, 11, 24, tzinfo=UTC),
        ),
        (datetime(2028, 2, 28, 12, tzinfo=UTC), "2028-02-28", datetime(2028, 2, 29, tzinfo=UTC)),
        (datetime(2026, 12, 31, 1, tzinfo=UTC), "2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2027, 1, 1, 13, tzinfo=EAST), "2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_day_is_a_utc_day(moment: datetime, day: str, following: datetime) -> None:
    assert times.day(moment) == day
    assert times.next_day(moment) == following


@given(MOMENTS)
def test_the_next_day_begins_within_24_hours(moment: datetime) -> None:
    left = times.next_day(moment) - moment
    assert timedelta(0) < left <= timedelta(days=1)
    assert times.day(times.next_day(moment)) > times.day(moment)
