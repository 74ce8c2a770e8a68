"""Deleted rooms: gone at once, and their messages soon after."""

import time
from datetime import datetime, timedelta

from geminichat.domain import ids, times
from geminichat.errors import NotFound
from geminichat.tables.chatrooms import Chatroom
from geminichat.tables.messages import StoredMessage, shard
from geminichat.tables.table import delete, put, transact_if

PURGE_AFTER = timedelta(seconds=60)
"""How long a deleted room's messages are left alone: longer than any request lives."""


def bury_room(user_id: str, chatroom_id: str, now: datetime) -> None:
    """Delete the user's room, and leave a note for the sweep to delete its messages.

    The note stands in place 0 and among the unfinished, dated ahead by more than any request
    lives, so that a prompt being stored at this moment is deleted as well. Raises NotFound.
    """
    note = StoredMessage(
        ids.known("r", chatroom_id),
        0,
        user_id=user_id,
        sender="note",
        content="",
        model="",
        created_at=times.text(now),
        unfinished_shard=shard(chatroom_id),
        unfinished_since=times.text(now + PURGE_AFTER),
    )

    room = Chatroom(user_id, chatroom_id)
    if not transact_if(delete("room", room, Chatroom.chatroom_id.exists()), put("note", note)):
        raise NotFound()


def purge(chatroom_id: str, until: float) -> bool:
    """Delete a deleted room's messages, its note last; return False if time ran out before that.

    `until` is a moment of the monotonic clock. Looks again until nothing is left: a worker may be
    storing a reply meanwhile, though no longer once the reply's prompt is gone.
    """
    left = True
    while left:
        left = False
        keys = StoredMessage.query(
            chatroom_id,
            StoredMessage.seq > 0,
            consistent_read=True,
            attributes_to_get=["chatroom_id", "seq"],
            page_size=500,
        )
        with StoredMessage.batch_write() as batch:
            for key in keys:
                if time.monotonic() > until:
                    return False
                batch.delete(StoredMessage(chatroom_id, int(key.seq)))
                left = True
    StoredMessage(chatroom_id, 0).delete()
    return True
