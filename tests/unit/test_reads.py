"""The limit of reads per user."""

from datetime import UTC, datetime, timedelta

from geminichat.domain.reads import READS, ReadCounts

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_user_may_read_up_to_the_limit_in_each_minute() -> None:
    counts = ReadCounts()
    assert [counts.count("u_1", NOON) for _ in range(READS)] == [0] * READS
    assert counts.count("u_1", NOON + timedelta(seconds=15)) == 45
    assert counts.count("u_2", NOON) == 0
    assert counts.count("u_1", NOON + timedelta(seconds=60)) == 0
