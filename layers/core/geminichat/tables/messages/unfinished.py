"""Read the unfinished prompts, which the sweep queues again or ends."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.tables.messages import stored
from geminichat.tables.messages.stored import FIRST, StoredMessage
from geminichat.tables.table import update_if


class UnfinishedPrompt(msgspec.Struct, frozen=True):
    """A queued or generating prompt; `sent` is when it was sent or last retried."""

    sent: datetime
    attempts: int
    leased_until: datetime | None
    stop: bool
    generation: str
    requeued: int
    since: str
    plan: Plan


def list_unfinished(shard: int, before: datetime) -> Iterator[tuple[str, int]]:
    """Yield the room and position of a shard's prompts and tombstones that are due."""
    due = StoredMessage.unfinished_since < times.text(before)
    for key in StoredMessage.unfinished.query(shard, due):
        yield key.chatroom_id, int(key.seq)


def find_unfinished(chatroom_id: str, seq: int) -> UnfinishedPrompt | None:
    """Return an unfinished prompt; None for any other message."""
    prompt = stored.find(chatroom_id, seq)
    if prompt is None or prompt.unfinished_since is None or prompt.sender != "user":
        return None
    reservation = stored.decode_reservation(prompt.reservation)
    return UnfinishedPrompt(
        sent=stored.read_sent_at(prompt),
        attempts=int(prompt.attempts or 0),
        leased_until=times.parse(prompt.leased_until) if prompt.leased_until else None,
        stop=bool(prompt.stop),
        generation=prompt.generation or FIRST,
        requeued=int(prompt.requeued or 0),
        since=prompt.unfinished_since,
        plan=reservation.plan if reservation else Plan.BASIC,
    )


def note_requeue(
    chatroom_id: str, seq: int, known: UnfinishedPrompt, now: datetime, pause: timedelta
) -> bool:
    """Record that the sweep queues a prompt again, and double the time until it is due again.

    Returns False if another sweep was faster or the prompt has ended.
    """
    due = now + pause * (2 ** min(known.requeued, 8) - 1)
    return update_if(
        StoredMessage(chatroom_id, seq),
        [
            StoredMessage.requeued.set(known.requeued + 1),
            StoredMessage.unfinished_since.set(times.text(due)),
        ],
        StoredMessage.unfinished_since == known.since,
    )
