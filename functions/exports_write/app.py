"""SQS ExportsQueue: write the archive of an account into the exports bucket."""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import time
from typing import Any

from geminichat.clients import export_queue
from geminichat.domain.exports import ATTEMPTS
from geminichat.operations import write_export
from geminichat.runtime import clock, log

MARGIN = 30.0
"""Seconds before the end of the invocation: then an unfinished export is marked as failed."""


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Return the queue messages to deliver again (a partial batch failure)."""
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN
    failed = [record["messageId"] for record in event["Records"] if not _handle(record, until)]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def _handle(record: dict[str, Any], until: float) -> bool:
    """Write the archive that a queue message names, and return whether the message is done."""
    job = export_queue.read(record["body"])
    try:
        write_export.write(job, clock.now(), until)
    except Exception:
        log.exception("export not written", user_id=job.user_id)
        if int(record["attributes"]["ApproximateReceiveCount"]) >= ATTEMPTS:
            write_export.give_up(job)
        return False
    return True
