"""Chatrooms: request bodies and responses."""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geminichat.domain.models import Thinking
from geminichat.domain.text import NO_NUL, trim_field

DEFAULT_TITLE = "New Chat"
TITLE_LENGTH = 120

_WITHOUT_NUL = {"pattern": NO_NUL}
type Title = Annotated[str, Meta(max_length=TITLE_LENGTH, extra_json_schema=_WITHOUT_NUL)]
type Instruction = Annotated[str, Meta(max_length=4_000, extra_json_schema=_WITHOUT_NUL)]
type ModelName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="An alias or the id of a model that `GET /models` shows as available",
    ),
]


class NewRoom(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
):
    """A room to create; an empty title or instruction counts as absent."""

    title: Title | None = None
    system_instruction: Instruction | None = None
    model: ModelName | None = None
    thinking: Thinking | None = None

    def __post_init__(self) -> None:
        """Trim the texts."""
        trim_field(self, "title")
        trim_field(self, "system_instruction")


class RoomChange(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
):
    """Changes to a room: null restores the default, an absent field stays unchanged."""

    title: Title | UnsetType | None = UNSET
    system_instruction: Instruction | UnsetType | None = UNSET
    model: ModelName | UnsetType | None = UNSET
    thinking: Thinking | UnsetType | None = UNSET

    json_schema: ClassVar[dict[str, Any]] = {"minProperties": 1}

    def __post_init__(self) -> None:
        """Trim the texts and require at least one change."""
        trim_field(self, "title")
        trim_field(self, "system_instruction")
        if all(value is UNSET for value in msgspec.structs.astuple(self)):
            raise ValueError(
                "At least one of title, systemInstruction, model and thinking is required"
            )


class Regeneration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for another reply; `model` replaces the room's model for this turn only."""

    model: ModelName | None = None


class Fork(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A request for a copy of the room's line up to the turn of a message."""

    up_to: Annotated[str, Meta(description="The id of a prompt or of its reply")]


class RoomSummary(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A chatroom as lists show it."""

    id: str
    title: str
    model: str
    thinking: Thinking | None
    created_at: str
    updated_at: str


class Room(RoomSummary, frozen=True, kw_only=True, rename="camel"):
    """A chatroom with its instruction."""

    system_instruction: str | None
    can_undo: bool
    """Whether an edit or a regeneration is left to undo."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """The last room of a page, after which the next page begins."""

    chatroom_id: str
    updated_at: str


class RoomPage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of a user's rooms, latest activity first."""

    chatrooms: list[RoomSummary]
    next_cursor: str | None
