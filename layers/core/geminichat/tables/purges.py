"""The purges table: the users who are to be deleted with everything they have, and when."""

from datetime import datetime, timedelta

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from geminichat.tables.table import Table, Write, delete, put, update

ALL = "all"
LONGEST_REQUEST = timedelta(seconds=60)
LONGEST_PROMPT = timedelta(minutes=10)
"""The time after which no worker answers a prompt of a deleted room any more."""


class ByDueDate(GlobalSecondaryIndex["Purge"]):
    """All purges, ordered by due date."""

    class Meta:
        index_name = "by-due-date"
        projection = AllProjection()

    queue = UnicodeAttribute(hash_key=True)
    due_at = NumberAttribute(range_key=True)


class Purge(Table):
    """The purge of a user: an unproven sign-up that expires, or that another account replaced."""

    class Meta:
        setting = "PURGES_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    queue = UnicodeAttribute(default=ALL)
    due_at = NumberAttribute()
    """An epoch second."""
    identity = UnicodeAttribute(null=True)
    """The key of the unproven identity, which is freed when the user expires."""
    started = BooleanAttribute(default=False)
    by_due_date = ByDueDate()


def schedule(user_id: str, identity_key: str | None, due: datetime) -> Write:
    """Return the write "purge", which deletes a user at this time."""
    return put("purge", Purge(user_id, due_at=int(due.timestamp()), identity=identity_key))


def schedule_soon(user_id: str, now: datetime) -> Write:
    """Return the write "purge of another", which deletes what a removed user has.

    It begins when no request of that user is under way any more.
    """
    return put("purge of another", Purge(user_id, due_at=int((now + LONGEST_REQUEST).timestamp())))


def cancel(user_id: str) -> Write:
    """Return the write "purge", which keeps a user; its condition fails if the purge has begun."""
    kept = Purge.user_id.does_not_exist() | (Purge.started == False)  # noqa: E712
    return delete("purge", Purge(user_id), kept)


def start(purge: Purge) -> Write:
    """Return the write "purge", which begins one; its condition fails if it was cancelled."""
    return update("purge", Purge(purge.user_id), [Purge.started.set(True)], Purge.user_id.exists())


def postpone(user_id: str, now: datetime) -> None:
    """Continue a purge later: until then a worker may write for the user whose rooms are gone."""
    later = int((now + LONGEST_PROMPT).timestamp())
    Purge(user_id).update([Purge.due_at.set(later)])


def finish(user_id: str) -> None:
    """Remove the purge of a user who is deleted."""
    Purge(user_id).delete()


def find_due(now: datetime) -> list[Purge]:
    """Return purges that are due, the oldest first, as many as one call yields."""
    page = Purge.by_due_date.query(ALL, Purge.due_at <= int(now.timestamp()), limit=100)
    return list(page)
