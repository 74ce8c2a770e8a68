"""The exports table: the newest export of each user."""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat.domain import times
from geminichat.domain.exports import KEPT, LONGEST, ExportStatus
from geminichat.domain.messages import read_member
from geminichat.tables.table import Key, Table, Write, delete, find_item, put, update_if

ITEM_KEPT = timedelta(days=7)


class StoredExport(Table):
    """A user's newest export, which the next one replaces."""

    class Meta:
        setting = "EXPORTS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    export_id = UnicodeAttribute()
    status = UnicodeAttribute()
    requested_at = UnicodeAttribute()
    size = NumberAttribute(null=True)
    expires_at = NumberAttribute()


def key_of(user_id: str) -> Key:
    """Return the key of a user's export, to read it together with other items."""
    return Key(StoredExport, user_id)


def find(user_id: str) -> StoredExport | None:
    """Return the user's newest export, or None."""
    return find_item(StoredExport, user_id)


def request(user_id: str, export_id: str, now: datetime) -> Write:
    """Return the write "export", which stores a new export.

    Its condition fails if the user has an export from the last day that has not failed.
    """
    status, requested_at = StoredExport.status, StoredExport.requested_at
    may: Condition = (
        StoredExport.user_id.does_not_exist()
        | (status == ExportStatus.FAILED)
        | (requested_at <= times.text(now - KEPT))
        | ((status == ExportStatus.PREPARING) & (requested_at <= times.text(now - LONGEST)))
    )
    export = StoredExport(
        user_id,
        export_id=export_id,
        status=ExportStatus.PREPARING,
        requested_at=times.text(now),
        expires_at=int((now + ITEM_KEPT).timestamp()),
    )
    return put("export", export, may)


def status_of(export: StoredExport, now: datetime) -> ExportStatus:
    """Return an export's status: failed if it is still in preparation after LONGEST."""
    status = read_member(ExportStatus, export.status)
    is_lost = times.parse(export.requested_at) <= now - LONGEST
    return ExportStatus.FAILED if status is ExportStatus.PREPARING and is_lost else status


def find_request_time(export: StoredExport | None, now: datetime) -> datetime | None:
    """Return the request time of an export that counts in the daily limit, else None."""
    if export is None or status_of(export, now) is ExportStatus.FAILED:
        return None
    requested_at = times.parse(export.requested_at)
    return requested_at if requested_at > now - KEPT else None


def finish(user_id: str, export_id: str, status: ExportStatus, size: int | None = None) -> bool:
    """Store the result of an export; return False if it was replaced, withdrawn or ready."""
    actions: list[Action] = [StoredExport.status.set(status)]
    if size is not None:
        actions.append(StoredExport.size.set(size))
    same = StoredExport.export_id == export_id
    return update_if(
        StoredExport(user_id), actions, same & (StoredExport.status != ExportStatus.READY)
    )


def withdraw(user_id: str, export_id: str | None = None) -> Write:
    """Return the write "export", which deletes a user's export; with `export_id`, only that one."""
    same = StoredExport.export_id == export_id if export_id else None
    return delete("export", StoredExport(user_id), same)
