"""The purges table: the users to delete with all their data, and when to delete them."""

from datetime import datetime, timedelta

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex

from geminichat.tables.table import Table, Write, delete, put, update, update_if
from geminichat.tables.users import User

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
    """The purge of a user who asked to be deleted, or who is unproven and expired or replaced."""

    class Meta:
        setting = "PURGES_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    queue = UnicodeAttribute(default=ALL)
    due_at = NumberAttribute()
    """An epoch second."""
    kept_until = NumberAttribute(null=True)
    """The epoch second until which a login keeps a user who asked to be deleted."""
    started = BooleanAttribute(default=False)
    by_due_date = ByDueDate()


def schedule(user_id: str, due: datetime) -> Write:
    """Return the write "purge", which deletes a user at this time."""
    return put("purge", Purge(user_id, due_at=int(due.timestamp())))


def schedule_departure(user_id: str, kept_until: datetime, now: datetime) -> Write:
    """Return the write "purge" of a user who asked for it and may log in again until then.

    It begins soon, to end payments for requests that were under way at the same time.
    """
    soon, until = now + LONGEST_REQUEST, int(kept_until.timestamp())
    return put("purge", Purge(user_id, due_at=int(soon.timestamp()), kept_until=until))


def schedule_soon(user_id: str, now: datetime) -> Write:
    """Return the write "purge of another", which deletes the data of a removed user.

    It begins when no request of that user can be running any more.
    """
    return put("purge of another", Purge(user_id, due_at=int((now + LONGEST_REQUEST).timestamp())))


def cancel(user_id: str) -> Write:
    """Return the write "purge", which keeps a user; its condition fails if the purge has begun."""
    kept = Purge.user_id.does_not_exist() | (Purge.started == False)  # noqa: E712
    return delete("purge", Purge(user_id), kept)


def cancel_departure(user: User) -> list[Write]:
    """Return the write "purge" that keeps a user who logs in, if the user asked to be deleted."""
    return [] if user.purge_at is None else [cancel(user.user_id)]


def start(purge: Purge) -> Write:
    """Return the write "purge", which begins one; its condition fails if it was cancelled.

    It also fails if the user returned and asked again: then another grace period has begun.
    """
    kept_until = Purge.kept_until
    same: Condition = (
        kept_until.does_not_exist() if purge.kept_until is None else kept_until == purge.kept_until
    )
    condition = Purge.user_id.exists() & same
    return update("purge", Purge(purge.user_id), [Purge.started.set(True)], condition)


def postpone_to_deadline(purge: Purge) -> None:
    """Postpone a purge to the time until which a login keeps the user, unless it is cancelled."""
    due = Purge.due_at.set(purge.kept_until)
    update_if(Purge(purge.user_id), [due], Purge.kept_until == purge.kept_until)


def postpone(user_id: str, now: datetime) -> None:
    """Postpone a purge: a worker may still write into a deleted room of the user."""
    later = int((now + LONGEST_PROMPT).timestamp())
    Purge(user_id).update([Purge.due_at.set(later)])


def finish(user_id: str) -> None:
    """Remove the purge of a user who is deleted."""
    Purge(user_id).delete()


def list_due(now: datetime) -> list[Purge]:
    """Return purges that are due, the oldest first, as many as one call yields."""
    page = Purge.by_due_date.query(ALL, Purge.due_at <= int(now.timestamp()), limit=100)
    return list(page)
