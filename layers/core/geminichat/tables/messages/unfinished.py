"""Read the unfinished prompts, which the sweep queues again or ends."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from geminichat.domain import times
from geminichat.tables.messages import prompts
from geminichat.tables.messages.prompts import Prompt
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.table import update_if


def list_unfinished(shard: int, before: datetime) -> Iterator[tuple[str, int]]:
    """Yield the room and position of a shard's prompts and tombstones that are due."""
    due = StoredMessage.unfinished_since < times.text(before)
    for key in StoredMessage.unfinished.query(shard, due):
        yield key.chatroom_id, int(key.seq)


def find_unfinished(chatroom_id: str, seq: int) -> Prompt | None:
    """Return an unfinished prompt; None for any other message."""
    prompt = prompts.find(chatroom_id, seq)
    return prompt if prompt and prompt.unfinished_since else None


def note_requeue(known: Prompt, now: datetime, pause: timedelta) -> bool:
    """Record that the sweep queues a prompt again, and double the time until it is due again.

    Returns False if another sweep was faster or the prompt has ended.
    """
    due = now + pause * (2 ** min(known.requeued, 8) - 1)
    return update_if(
        StoredMessage(known.chatroom_id, known.seq),
        [
            StoredMessage.requeued.set(known.requeued + 1),
            StoredMessage.unfinished_since.set(times.text(due)),
        ],
        StoredMessage.unfinished_since == known.unfinished_since,
    )
