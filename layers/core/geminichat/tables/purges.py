"""The purges table: the users to delete with all their data, and the times of their deletion."""

from datetime import datetime, timedelta

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from geminichat.tables.table import Table, Write, delete, put, update, update_if
from geminichat.tables.users import User

ALL = "all"
LONGEST_REQUEST = timedelta(seconds=60)
LONGEST_PROMPT = timedelta(minutes=10)
"""The time after which no worker still answers a prompt of a deleted room."""


class ByDueDate(GlobalSecondaryIndex["Purge"]):
    """All purges, ordered by due date."""

    class Meta:
        index_name = "by-due-date"
        projection = AllProjection()

    queue = UnicodeAttribute(hash_key=True)
    due_at = NumberAttribute(range_key=True)


class Purge(Table):
    """The purge of a user who asked for the deletion, or of an unproven user."""

    class Meta:
        setting = "PURGES_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    queue = UnicodeAttribute(default=ALL)
    due_at = NumberAttribute()
    """An epoch second."""
    kept_until = NumberAttribute(null=True)
    """The epoch second until which a login keeps a user who asked for the deletion."""
    started = BooleanAttribute(default=False)
    by_due_date = ByDueDate()


def schedule(user_id: str, due: datetime) -> Write:
    """Return the write "purge", which schedules the deletion of a user."""
    return put("purge", Purge(user_id, due_at=int(due.timestamp())))


def schedule_departure(user_id: str, kept_until: datetime, now: datetime) -> Write:
    """Return the write "purge", which schedules a deletion that a login can still cancel.

    The purge is due soon, to end payments that parallel requests have begun. It is then postponed
    to `kept_until`.
    """
    soon, until = now + LONGEST_REQUEST, int(kept_until.timestamp())
    return put("purge", Purge(user_id, due_at=int(soon.timestamp()), kept_until=until))


def schedule_soon(user_id: str, now: datetime) -> Write:
    """Return the write "purge of another": it schedules the purge of the user who is removed.

    The purge is due when no request of that user can still be running.
    """
    return put("purge of another", Purge(user_id, due_at=int((now + LONGEST_REQUEST).timestamp())))


def cancel(user_id: str) -> Write:
    """Return the write "purge", which cancels a purge. Its condition fails if the purge began."""
    kept = Purge.user_id.does_not_exist() | (Purge.started == False)  # noqa: E712
    return delete("purge", Purge(user_id), kept)


def cancel_departure(user: User) -> list[Write]:
    """Return the write that cancels a requested deletion at a login; [] if none was requested."""
    return [] if user.purge_at is None else [cancel(user.user_id)]


def start(purge: Purge) -> Write:
    """Return the write "purge", which begins a purge.

    Its condition fails if the purge was cancelled, even if the user requested the deletion again
    later: that request began another grace period.
    """
    kept_until = Purge.kept_until
    same: Condition = (
        kept_until.does_not_exist() if purge.kept_until is None else kept_until == purge.kept_until
    )
    condition = Purge.user_id.exists() & same
    return update("purge", Purge(purge.user_id), [Purge.started.set(True)], condition)


def postpone_to_deadline(purge: Purge) -> None:
    """Postpone a purge to its `kept_until`, unless it was cancelled."""
    due = Purge.due_at.set(purge.kept_until)
    update_if(Purge(purge.user_id), [due], Purge.kept_until == purge.kept_until)


def postpone(user_id: str, now: datetime) -> None:
    """Postpone a purge, since a worker may still write into a deleted room of the user."""
    later = int((now + LONGEST_PROMPT).timestamp())
    Purge(user_id).update([Purge.due_at.set(later)])


def finish(user_id: str) -> None:
    """Delete the purge of a user who is completely deleted."""
    Purge(user_id).delete()


def list_due(now: datetime) -> list[Purge]:
    """Return up to 100 purges that are due, the oldest first."""
    page = Purge.by_due_date.query(ALL, Purge.due_at <= int(now.timestamp()), limit=100)
    return list(page)
