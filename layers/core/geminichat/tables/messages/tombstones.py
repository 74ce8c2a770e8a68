"""The tombstone of a deleted room, and the deletion of its messages."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import batched

from geminichat.domain import times
from geminichat.tables.messages import stored
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.table import BATCH, Write, batch_delete, delete, put, read_page

TOMBSTONE_SEQ = 0

PURGE_AFTER = timedelta(seconds=60)
"""The time after which the sweep deletes a room's messages: longer than any request takes."""


def put_tombstone(user_id: str, chatroom_id: str, now: datetime) -> Write:
    """Return the write "tombstone", which makes the sweep delete a deleted room's messages.

    The tombstone is due after PURGE_AFTER, so that the sweep also deletes a prompt that another
    request is storing now.
    """
    tombstone = StoredMessage(
        chatroom_id,
        TOMBSTONE_SEQ,
        user_id=user_id,
        sender="note",
        content="",
        model="",
        created_at=times.text(now),
        unfinished_shard=stored.shard_of(chatroom_id),
        unfinished_since=times.text(now + PURGE_AFTER),
    )
    return put("tombstone", tombstone)


def delete_tombstone(chatroom_id: str) -> Write:
    """Return the write "tombstone", which deletes the tombstone, so that the messages are kept.

    Its condition fails if the sweep has already deleted the messages.
    """
    tombstone = StoredMessage(chatroom_id, TOMBSTONE_SEQ)
    return delete("tombstone", tombstone, StoredMessage.seq.exists())


def list_prompts_in_flight(chatroom_id: str) -> Iterator[int]:
    """Yield the positions of a room's unfinished prompts."""
    in_flight = StoredMessage.unfinished_since.exists()
    for prompt in StoredMessage.query(
        chatroom_id,
        StoredMessage.seq > TOMBSTONE_SEQ,
        in_flight,
        consistent_read=True,
        attributes_to_get=["chatroom_id", "seq"],
    ):
        yield int(prompt.seq)


def purge(chatroom_id: str, until: float) -> bool:
    """Delete a deleted room's messages and then its tombstone; return False if `until` came first.

    `until` is a time of the monotonic clock. The query is repeated until it finds nothing, since a
    worker may store a reply until its prompt is deleted.
    """
    while positions := _read_positions(chatroom_id):
        for some in batched(positions, BATCH, strict=False):
            if time.monotonic() > until:
                return False
            batch_delete(StoredMessage, [stored.key_of(chatroom_id, seq) for seq in some])
    StoredMessage(chatroom_id, TOMBSTONE_SEQ).delete()
    return True


def _read_positions(chatroom_id: str) -> list[int]:
    """Return the positions of a room's first messages, up to 500."""
    items, _ = read_page(
        StoredMessage.query(
            chatroom_id,
            StoredMessage.seq > TOMBSTONE_SEQ,
            consistent_read=True,
            attributes_to_get=["seq"],
            limit=500,
        )
    )
    return [int(item["seq"]) for item in items]
