"""Export an account: request an archive of its data, show the export, and delete it."""

from datetime import datetime

import msgspec

from geminichat.clients import export_files, export_queue
from geminichat.clients.export_queue import ExportJob
from geminichat.domain import exports as rules
from geminichat.domain import ids, limits, times
from geminichat.domain.exports import ADDRESS_LIFETIME, KEPT, Export, ExportStatus
from geminichat.domain.limits import Window
from geminichat.domain.sessions import ENDED
from geminichat.errors import InvalidCode, NotFound, TooManyRequests, Unauthorized, Unavailable
from geminichat.tables import exports
from geminichat.tables.exports import StoredExport
from geminichat.tables.table import ConditionsFailed, Write, transact, transact_if


def check_daily_limit(export: StoredExport | None, now: datetime) -> Window:
    """Return the daily limit with one more export counted. Raises TooManyRequests."""
    limit = rules.window(exports.find_request_time(export, now), now)
    if limit.wait(now):
        raise _build_refusal(limit, now)
    return limit.count_events(1)


def request(user_id: str, now: datetime, *more: Write) -> Export:
    """Store an export of a user together with further writes, queue it, and return it.

    Raises TooManyRequests if the user had an export within a day, Unavailable if it cannot be
    queued, Unauthorized if the condition of the write "session" fails, InvalidCode for the write
    "confirmation", and ConditionsFailed for any other write.
    """
    job = ExportJob(user_id=user_id, export_id=ids.new("e"))
    try:
        transact(exports.request(user_id, job.export_id, now), *more)
    except ConditionsFailed as error:
        if error.of("export"):
            raise _build_refusal(rules.window(now, now), now) from error
        if error.of("confirmation"):
            raise InvalidCode() from error
        if error.of("session"):
            raise Unauthorized(ENDED) from error
        raise
    try:
        export_queue.send(job)
    except Unavailable:
        transact_if(exports.withdraw(user_id, job.export_id))
        raise
    return _view(ExportStatus.PREPARING, now)


def show(export: StoredExport | None, now: datetime) -> Export:
    """Return an export as clients see it. Raises NotFound if it is older than a day or missing."""
    if export is None or times.parse(export.requested_at) <= now - KEPT:
        raise NotFound()
    status, requested_at = exports.status_of(export, now), times.parse(export.requested_at)
    if status is not ExportStatus.READY:
        return _view(status, requested_at)
    return msgspec.structs.replace(
        _view(status, requested_at),
        size=int(export.size or 0),
        url=export_files.sign_address(export.user_id, export.export_id, now),
        url_expires_at=times.text(now + ADDRESS_LIFETIME),
    )


def delete_all(user_id: str) -> None:
    """Delete a user's export and its archives.

    The item is deleted first: a worker that finds no item deletes the archive that it completes.
    """
    transact(exports.withdraw(user_id))
    export_files.delete_all(user_id)


def _view(status: ExportStatus, requested_at: datetime) -> Export:
    return Export(
        status=status,
        requested_at=times.text(requested_at),
        kept_until=times.text(requested_at + KEPT),
    )


def _build_refusal(limit: Window, now: datetime) -> TooManyRequests:
    seconds = limit.seconds(now)
    return TooManyRequests(
        f"The data of an account can be exported once a day. Try again in {seconds} s.",
        retry_after=seconds,
        headers=limits.headers([limit], now),
    )
