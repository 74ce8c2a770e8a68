"""Delete the messages of a deleted room."""

import time
from datetime import datetime, timedelta

from geminichat.domain import ids
from geminichat.domain.messages import Failure
from geminichat.operations import finish_prompt
from geminichat.tables.messages import leases, tombstones

ROOM_DELETED = Failure(code="room-deleted", message="The chatroom was deleted.")
"""The failure of prompts in a deleted room; no request can read the failure."""


def purge(room_id: str, now: datetime, until: float) -> bool:
    """Delete a deleted room's messages; return False if a later call must continue.

    Prompts in flight are failed first, so that nothing stays reserved for them. While a worker
    answers one of them, a later call must continue. `until` is a time of the monotonic clock.
    """
    for seq in tombstones.list_prompts_in_flight(room_id):
        prompt = leases.lease_prompt(room_id, seq, ids.new("l"), now, timedelta(seconds=30))
        if prompt is None or time.monotonic() > until:
            return False
        try:
            finish_prompt.fail(prompt, ROOM_DELETED, now)
        except leases.LeaseLost:
            return False
    return tombstones.purge(room_id, until)
