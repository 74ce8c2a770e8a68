"""Schedule rate(5 minutes): delete the users who are due for deletion.

Some asked for the deletion. Others are unproven, and have expired or were replaced. Each step may
be repeated. The purge's own item is deleted last, so the next run continues after a crash.
"""

import time
from datetime import datetime
from typing import Any

from geminichat import metrics, startup  # noqa: F401
from geminichat.operations import purge_user
from geminichat.runtime import clock, log
from geminichat.tables import purges

MARGIN = 20.0
"""Seconds before the end of the invocation: from then on, no further purge begins."""


def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Return the numbers of users purged and failed; later runs retry the failed users."""
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN
    return purge_due(clock.now(), until)


def purge_due(now: datetime, until: float) -> dict[str, int]:
    """Purge the users who are due; begin no purge after `until` (monotonic clock)."""
    counts = {"purged": 0, "failed": 0}
    for purge in purges.list_due(now):
        if time.monotonic() > until:
            break
        try:
            if purge_user.continue_purge(purge, now):
                counts["purged"] += 1
        except Exception:
            log.exception("user not purged", user_id=purge.user_id)
            counts["failed"] += 1
    if any(counts.values()):
        metrics.emit(UsersPurged=counts["purged"], PurgesFailed=counts["failed"])
    return counts
