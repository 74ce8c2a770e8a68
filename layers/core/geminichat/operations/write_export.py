"""Write the archive of an account: a zip of JSON lines, which is uploaded while it is written.

The records have the form of the API's answers. Only a page of messages and a part of the archive
are in memory, whatever the size of the account.
"""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from zipfile import ZIP_DEFLATED, ZipFile

import msgspec

from geminichat import metrics
from geminichat.clients import export_files
from geminichat.clients.export_queue import ExportJob
from geminichat.domain import exports as rules
from geminichat.domain import times
from geminichat.domain.exports import ExportStatus, HeldIdentity, HeldSession, RoomMessage
from geminichat.domain.lines import Hidden
from geminichat.operations import show_usage
from geminichat.runtime import log
from geminichat.tables import chatrooms, exports, subscriptions, usage, users
from geminichat.tables.exports import StoredExport
from geminichat.tables.messages import pages
from geminichat.tables.table import batch_get
from geminichat.tables.users import User


class TooLarge(Exception):
    """The archive cannot be written within one invocation."""


def write(job: ExportJob, now: datetime, until: float) -> None:
    """Write an archive, unless it is ready or was withdrawn. May be repeated after a crash.

    An export that is not complete at `until` (monotonic clock) is marked as too large.
    """
    user, export = batch_get(users.key_of(job.user_id), exports.key_of(job.user_id))
    if user is None or not _is_current(job, export):
        export_files.delete(job.user_id, job.export_id)
        return
    if export.status == ExportStatus.READY:
        return
    try:
        size = _upload(job, user, now, until)
    except TooLarge:
        log.error("export too large", user_id=job.user_id)
        _end(job, ExportStatus.TOO_LARGE)
        return
    if exports.finish(job.user_id, job.export_id, ExportStatus.READY, size):
        metrics.emit(ExportsReady=1)
    elif not _is_current(job, exports.find(job.user_id)):
        export_files.delete(job.user_id, job.export_id)


def give_up(job: ExportJob) -> None:
    """Mark an export as failed, so that its user may request another export."""
    _end(job, ExportStatus.FAILED)


def _end(job: ExportJob, status: ExportStatus) -> None:
    if exports.finish(job.user_id, job.export_id, status):
        metrics.emit(ExportsFailed=1)


def _is_current(job: ExportJob, export: StoredExport | None) -> bool:
    return export is not None and export.export_id == job.export_id


def _upload(job: ExportJob, user: User, now: datetime, until: float) -> int:
    """Upload the archive of a user, and return its size. Raises TooLarge."""
    name = f"gemini-chat-{times.day(now)}.zip"
    with export_files.Upload(job.user_id, job.export_id, name) as upload:
        with ZipFile(upload, "w", ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", rules.README)
            for kind, records in _records(user, now):
                # A file of unknown length may become larger than 4 GB.
                with archive.open(f"{kind}.jsonl", "w", force_zip64=True) as file:
                    for record in records:
                        if time.monotonic() > until:
                            raise TooLarge()
                        file.write(msgspec.json.encode(record) + b"\n")
        upload.complete()
        return upload.size


def _records(user: User, now: datetime) -> Iterator[tuple[str, Iterable[msgspec.Struct]]]:
    """Yield each kind of a user's records, with the records of that kind.

    An archive's files are written one after the other, so messages follow after all rooms. A room
    that is deleted in between has no messages.
    """
    user_id = user.user_id
    subscription, counts = batch_get(subscriptions.key_of(user_id), usage.key_of(user_id, now))
    yield "account", [show_usage.account_of(user, subscription, counts, now)]
    yield "identities", _identities(user)
    yield "sessions", _sessions(user)
    yield "subscription", [show_usage.subscription_of(user, subscription, counts, now)]
    yield "usage", usage.read_days(user_id)
    lines: dict[str, Hidden] = {}

    def rooms() -> Iterator[msgspec.Struct]:
        for room, hidden in chatrooms.read_all(user_id):
            lines[room.id] = hidden
            yield room

    yield "rooms", rooms()
    yield "messages", _messages(lines)


def _identities(user: User) -> Iterator[HeldIdentity]:
    proven = {one.key for one in users.identities_of(user)}
    for one in users.all_identities_of(user):
        yield HeldIdentity(kind=one.kind, value=one.value, verified=one.key in proven)


def _sessions(user: User) -> Iterator[HeldSession]:
    for session_id, began in users.sessions_of(user).items():
        yield HeldSession(id=session_id, began_at=times.of_epoch(began))


def _messages(lines: dict[str, Hidden]) -> Iterator[RoomMessage]:
    for room_id, hidden in lines.items():
        for message in pages.read_all(room_id, hidden):
            yield RoomMessage.of(message, room_id)
