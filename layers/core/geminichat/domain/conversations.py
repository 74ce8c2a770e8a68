"""A chatroom together with its messages, as the API shows it."""

from typing import Self

import msgspec

from geminichat.domain.messages import Message
from geminichat.domain.rooms import Room


class RoomWithMessages(Room, frozen=True, kw_only=True, rename="camel"):
    """A room and a page of its messages, oldest first; the first page has the newest messages."""

    messages: list[Message]
    next_cursor: str | None

    @classmethod
    def of(cls, room: Room, messages: list[Message], next_cursor: str | None) -> Self:
        return cls(**msgspec.structs.asdict(room), messages=messages, next_cursor=next_cursor)
