"""Chatrooms: what a body may say of one, and what the wire shows."""

from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geminichat.domain.messages import Message
from geminichat.domain.text import NO_NUL, trimmed

DEFAULT_TITLE = "New Chat"

_PLAIN = {"pattern": NO_NUL}
type Title = Annotated[str, Meta(max_length=120, extra_json_schema=_PLAIN)]
type Instruction = Annotated[str, Meta(max_length=4_000, extra_json_schema=_PLAIN)]
type Model = Literal["gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro"]

DEFAULT_MODEL: Model = "gemini-2.5-flash"


class NewRoom(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
):
    """A room to open; an empty title or instruction is as good as none."""

    title: Title | None = None
    system_instruction: Instruction | None = None
    model: Model | None = None

    def __post_init__(self) -> None:
        """Trim what a person typed."""
        trimmed(self, "title")
        trimmed(self, "system_instruction")


class RoomChange(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
):
    """What to change of a room; null puts the default back, an absent field stays as it is."""

    title: Title | UnsetType | None = UNSET
    system_instruction: Instruction | UnsetType | None = UNSET
    model: Model | UnsetType | None = UNSET

    json_schema: ClassVar[dict[str, Any]] = {"minProperties": 1}

    def __post_init__(self) -> None:
        """Trim what a person typed, and want at least one change."""
        trimmed(self, "title")
        trimmed(self, "system_instruction")
        if all(value is UNSET for value in msgspec.structs.astuple(self)):
            raise ValueError("Name at least one of title, systemInstruction and model")


class Room(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A chatroom as the wire shows it."""

    id: str
    title: str
    system_instruction: str | None
    model: str
    created_at: str
    updated_at: str


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page of rooms ends."""

    chatroom_id: str
    updated_at: str


class RoomPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of a user's rooms, latest activity first."""

    chatrooms: list[Room]
    next_cursor: str | None


class RoomWithMessages(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A room and one page of its messages: the newest page first, the oldest of a page first."""

    id: str
    title: str
    system_instruction: str | None
    model: str
    created_at: str
    updated_at: str
    messages: list[Message]
    next_cursor: str | None

    @classmethod
    def of(cls, room: Room, messages: list[Message], next_cursor: str | None) -> Self:
        """Return the room together with a page of its messages."""
        return cls(**msgspec.structs.asdict(room), messages=messages, next_cursor=next_cursor)
