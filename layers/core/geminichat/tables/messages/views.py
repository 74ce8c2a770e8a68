"""Read a message, and convert messages to the form of the API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from geminichat.domain import ids
from geminichat.domain.messages import Failure, Finish, Message, Status, read_member
from geminichat.domain.sessions import Claims
from geminichat.errors import NotFound
from geminichat.tables import chatrooms, users
from geminichat.tables.messages import stored
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.table import Key


def get(caller: Claims, chatroom_id: str, message_id: str, now: datetime) -> Message:
    """Return a message of the user's room; a prompt includes its reply.

    Raises NotFound, and Unauthorized if the session has ended.
    """
    return read(caller, chatroom_id, message_id, now)[0]


def read(
    caller: Claims, chatroom_id: str, message_id: str, now: datetime, *also: Key
) -> tuple[Message, StoredMessage, list[Any]]:
    """Return the message as from `get`, its item, and the items with further keys, by one call."""
    seq = ids.message_seq(ids.parse_room(chatroom_id), message_id)
    _, room, message, following, *others = users.read_current(
        caller,
        now,
        chatrooms.key_of(caller.user_id, chatroom_id),
        stored.key_of(chatroom_id, seq),
        stored.key_of(chatroom_id, seq + 1),
        *also,
    )
    if room is None or message is None:
        raise NotFound()
    hidden = chatrooms.is_hidden(room, seq) or UNSET
    shown = msgspec.structs.replace(view(message.attribute_values), hidden=hidden)
    if message.sender == "user":
        reply = view(following.attribute_values) if following else None
        shown = msgspec.structs.replace(shown, reply=reply)
    return shown, message, others


def view(item: Mapping[str, Any]) -> Message:
    """Return a message as the API shows it, from its attributes by name."""
    room_id, seq = item["chatroom_id"], int(item["seq"])
    if item["sender"] == "ai":
        return Message(
            id=ids.message_id(room_id, seq),
            sender="ai",
            content=item["content"],
            created_at=item["created_at"],
            reply_to=ids.message_id(room_id, seq - 1),
            model=item["model"],
            requested_model=item.get("requested_model") or UNSET,
            finish=read_member(Finish, item.get("finish") or Finish.COMPLETE),
            usage=stored.read_tokens(item.get("input_tokens"), item.get("output_tokens")),
        )
    status = read_member(Status, item.get("status") or Status.QUEUED)
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
    )
