"""Schedule cron(17 3 * * ? *): compare all paying users with Stripe, and fix differences.

`make reconcile` runs it by hand; the event `{"dryRun": true}` only reports what would be fixed.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import time
from collections.abc import Mapping
from typing import Any

from geminichat.operations import reconcile_plans
from geminichat.runtime import log

MARGIN = 15.0
"""Seconds at the end of the invocation in which no further user is synced."""
SHOWN = 1_000
"""The maximum number of changes that the result lists; the log has all of them."""


def handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Return the numbers of users compared, fixed, failed and paying twice, and the changes.

    Raises RuntimeError, which raises an alarm, if some users failed or were not reached. The next
    run compares all users again.
    """
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN
    dry_run = event.get("dryRun") is True

    counts, changes = reconcile_plans.reconcile(until, dry_run=dry_run)

    log.info("reconciled", **counts, dry_run=dry_run)
    if counts["failed"] or counts["left"]:
        raise RuntimeError(f"Some users were not compared with Stripe: {counts}")
    return {**counts, "changes": changes[:SHOWN]}
