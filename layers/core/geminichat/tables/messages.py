"""The messages table: a room's prompts and replies by their place in it.

A prompt takes place n, its reply n+1, whoever writes it and however often: so a prompt has at most
one reply and a room always reads question, answer, question, answer. Prompts that are not yet
answered or failed stand in the sparse index `unfinished`, where the sweep finds them.

Here they are read. `sending` writes what is sent, `answers` what becomes of it.
"""

import zlib
from typing import Any

from msgspec import UNSET
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from geminichat.domain import ids
from geminichat.domain.messages import (
    Failure,
    Message,
    Status,
    TokenUsage,
)
from geminichat.errors import NotFound
from geminichat.tables.chatrooms import Chatroom
from geminichat.tables.table import Key, Table, batch_get

FIRST = "0"
"""The generation of a prompt that was never retried."""

SHARDS = 8
"""Partitions of the index of unfinished prompts, so that no one of them takes every write."""


class Unfinished(GlobalSecondaryIndex["StoredMessage"]):
    """Prompts that are neither answered nor failed, oldest first within a shard."""

    class Meta:
        index_name = "unfinished"
        projection = KeysOnlyProjection()

    unfinished_shard = NumberAttribute(hash_key=True)
    unfinished_since = UnicodeAttribute(range_key=True)


class StoredMessage(Table):
    """A prompt or a reply. A prompt keeps the room's settings as they were when it was sent."""

    class Meta:
        setting = "MESSAGES_TABLE"

    chatroom_id = UnicodeAttribute(hash_key=True)
    seq = NumberAttribute(range_key=True)
    user_id = UnicodeAttribute()
    sender = UnicodeAttribute()
    content = UnicodeAttribute()
    model = UnicodeAttribute()
    created_at = UnicodeAttribute()

    status = UnicodeAttribute(null=True)
    system_instruction = UnicodeAttribute(null=True)
    attempts = NumberAttribute(null=True)
    generation = UnicodeAttribute(null=True)
    retried_at = UnicodeAttribute(null=True)
    requeued = NumberAttribute(null=True)
    lease = UnicodeAttribute(null=True)
    leased_until = UnicodeAttribute(null=True)
    counted_on = UnicodeAttribute(null=True)
    error_code = UnicodeAttribute(null=True)
    error_message = UnicodeAttribute(null=True)
    unfinished_shard = NumberAttribute(null=True)
    unfinished_since = UnicodeAttribute(null=True)

    input_tokens = NumberAttribute(null=True)
    output_tokens = NumberAttribute(null=True)

    unfinished = Unfinished()


def get(user_id: str, chatroom_id: str, message_id: str) -> Message:
    """Return a message of the user's room; a prompt with its reply. Raises NotFound."""
    seq = ids.message_seq(ids.known("r", chatroom_id), message_id)
    room, message, following = batch_get(
        Key(Chatroom, user_id, chatroom_id),
        Key(StoredMessage, chatroom_id, seq),
        Key(StoredMessage, chatroom_id, seq + 1),
    )
    if room is None or message is None:
        raise NotFound()
    reply = view(following) if message.sender == "user" and following is not None else None
    return view(message, reply=reply, whole=True)


def newest(chatroom_id: str, limit: int, before: int | None) -> tuple[list[Message], int | None]:
    """Return up to `limit` messages before a place, oldest first, and where older ones end."""
    earlier = StoredMessage.seq.between(1, before - 1) if before else StoredMessage.seq > 0
    found, more = read(chatroom_id, earlier, limit, scan_index_forward=False)
    oldest = int(found[-1].seq) if more else None
    return [view(message) for message in reversed(found)], oldest if oldest != 1 else None


def after(chatroom_id: str, seq: int, limit: int) -> tuple[list[Message], int | None]:
    """Return up to `limit` messages after a place, oldest first, and the place to go on after."""
    found, more = read(chatroom_id, StoredMessage.seq > seq, limit)
    return [view(message) for message in found], int(found[-1].seq) if more else None


def read(
    chatroom_id: str, where: Condition, limit: int, **how: Any
) -> tuple[list[StoredMessage], bool]:
    """Return what one call brings, up to `limit` messages or a megabyte, and whether more follow.

    At exactly `limit` messages more *may* follow: to be sure would cost reading one more.
    """
    query = StoredMessage.query(chatroom_id, where, consistent_read=True, limit=limit, **how)
    page: dict[str, Any] = next(query.page_iter)
    found = [StoredMessage.from_raw_data(item) for item in page["Items"]]
    return found, bool(found) and "LastEvaluatedKey" in page


def shard(chatroom_id: str) -> int:
    """Return the shard of the unfinished index that a room's prompts stand in."""
    return zlib.crc32(chatroom_id.encode()) % SHARDS


def view(stored: StoredMessage, *, reply: Message | None = None, whole: bool = False) -> Message:
    """Return a message as the wire shows it; `whole` shows a prompt's reply, be it null."""
    item = stored.attribute_values  # at once: a page asks for two hundred of them
    room_id, seq = item["chatroom_id"], int(item["seq"])
    if item["sender"] == "ai":
        return Message(
            id=ids.message_id(room_id, seq),
            sender="ai",
            content=item["content"],
            created_at=item["created_at"],
            reply_to=ids.message_id(room_id, seq - 1),
            model=item["model"],
            usage=TokenUsage(
                input_tokens=int(item.get("input_tokens") or 0),
                output_tokens=int(item.get("output_tokens") or 0),
            ),
        )
    status = Status(item.get("status") or Status.QUEUED)
    failure = None
    if status is Status.FAILED and (code := item.get("error_code")):
        failure = Failure(code=code, message=item.get("error_message") or "")
    return Message(
        id=ids.message_id(room_id, seq),
        sender="user",
        content=item["content"],
        created_at=item["created_at"],
        status=status,
        error=failure,
        reply=reply if whole else UNSET,
    )
