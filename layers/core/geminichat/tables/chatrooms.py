"""The chatrooms table: one partition per user, so that only a room's owner can find it."""

from collections.abc import Iterator
from datetime import datetime

import msgspec
from msgspec import UNSET
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import IncludeProjection, LocalSecondaryIndex

from geminichat.domain import models, rooms, times
from geminichat.domain.lines import Hidden, Line
from geminichat.domain.models import Thinking
from geminichat.domain.sessions import Claims
from geminichat.errors import NotFound
from geminichat.tables import users
from geminichat.tables.table import Key, Table, Write, delete, put, read_page, update, update_if


class ByActivity(LocalSecondaryIndex["Chatroom"]):
    """A user's rooms in the order of their latest activity, without their instructions.

    Each prompt makes DynamoDB copy the projected attributes, and an instruction would be by far the
    largest of them.
    """

    class Meta:
        index_name = "by-activity"
        projection = IncludeProjection(["title", "model", "thinking", "created_at"])

    user_id = UnicodeAttribute(hash_key=True)
    updated_at = UnicodeAttribute(range_key=True)


class Chatroom(Table):
    """A room and its settings; `last_seq` is the position of the last reserved reply."""

    class Meta:
        setting = "CHATROOMS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    chatroom_id = UnicodeAttribute(range_key=True)
    title = UnicodeAttribute()
    system_instruction = UnicodeAttribute(null=True)
    model = UnicodeAttribute()
    thinking = UnicodeAttribute(null=True)
    last_seq = NumberAttribute(default=0)
    line = UnicodeAttribute(null=True)  # a Line in JSON
    auto_title = UnicodeAttribute(null=True)
    """DUE while the title is the default, an id while it is a prompt's first words, else None."""
    created_at = UnicodeAttribute()
    updated_at = UnicodeAttribute()
    by_activity = ByActivity()


DUE = "due"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A reserved turn: the position of its prompt, and the room's settings when it was reserved."""

    user_id: str
    chatroom_id: str
    seq: int
    model: str
    thinking: str | None
    system_instruction: str | None
    hidden: Hidden
    title_due: bool = False
    """Whether the room has the default title."""


def key_of(user_id: str, chatroom_id: str) -> Key:
    """Return the key of the user's room, to read it together with other items."""
    return Key(Chatroom, user_id, chatroom_id)


def ids_of(user_id: str) -> list[str]:
    """Return the ids of all rooms of a user."""
    found = Chatroom.query(user_id, attributes_to_get=["chatroom_id"], consistent_read=True)
    return [room.chatroom_id for room in found]


def list_latest_ids(user_id: str, limit: int) -> list[str]:
    """Return the ids of a user's rooms, latest activity first; no title is read."""
    found = Chatroom.by_activity.query(
        user_id, scan_index_forward=False, limit=limit, attributes_to_get=["chatroom_id"]
    )
    return [room.chatroom_id for room in found]


def read_all(user_id: str) -> Iterator[tuple[rooms.Room, Hidden]]:
    """Yield every room of a user with its hidden ranges."""
    for room in Chatroom.query(user_id, consistent_read=True):
        yield view(room), line_of(room).hidden


def put_room(
    user_id: str, chatroom_id: str, new: rooms.NewRoom, now: datetime
) -> tuple[rooms.Room, Write]:
    """Return a new room, and the write "room" that stores it."""
    moment = times.text(now)
    room = Chatroom(
        user_id,
        chatroom_id,
        title=new.title or rooms.DEFAULT_TITLE,
        auto_title=None if new.title else DUE,
        system_instruction=new.system_instruction,
        model=new.model or models.DEFAULT,
        thinking=new.thinking,
        created_at=moment,
        updated_at=moment,
    )
    return view(room), put("room", room)


def put_copy(
    room: Chatroom, chatroom_id: str, last_seq: int, now: datetime
) -> tuple[rooms.Room, Write]:
    """Return a new room with the settings of `room`, and the write "room" that stores the copy."""
    moment = times.text(now)
    copy = Chatroom(
        room.user_id,
        chatroom_id,
        title=room.title,
        auto_title=room.auto_title,
        system_instruction=room.system_instruction,
        model=room.model,
        thinking=room.thinking,
        last_seq=last_seq,
        created_at=moment,
        updated_at=moment,
    )
    return view(copy), put("room", copy)


def get(caller: Claims, chatroom_id: str, now: datetime) -> tuple[rooms.Room, Hidden]:
    """Return the user's room and its hidden ranges.

    Raises NotFound, and Unauthorized if the session has ended.
    """
    key = key_of(caller.user_id, chatroom_id)
    _, room = users.read_current(caller, now, key)
    if room is None:
        raise NotFound()
    return view(room), line_of(room).hidden


def read_rooms(
    user_id: str, limit: int, after: rooms.Position | None = None
) -> tuple[list[rooms.RoomSummary], rooms.Position | None]:
    """Return a page of the user's rooms, latest activity first, and where the next page starts."""
    start = None
    if after:
        start = {
            "user_id": {"S": user_id},
            "chatroom_id": {"S": after.chatroom_id},
            "updated_at": {"S": after.updated_at},
        }
    found, _ = read_page(
        Chatroom.by_activity.query(
            user_id,
            scan_index_forward=False,
            consistent_read=True,
            limit=limit + 1,
            last_evaluated_key=start,
        )
    )
    page = [
        rooms.RoomSummary(
            id=item["chatroom_id"],
            title=item["title"],
            model=item["model"],
            thinking=Thinking.read(item.get("thinking")),
            created_at=item["created_at"],
            updated_at=item["updated_at"],
        )
        for item in found[:limit]
    ]
    following = None
    if len(found) > limit:
        following = rooms.Position(chatroom_id=page[-1].id, updated_at=page[-1].updated_at)
    return page, following


def reserve_turn(room: Chatroom, now: datetime) -> tuple[Turn, Write]:
    """Return the next turn, and the write "room" that reserves it and notes the room's activity.

    The write's condition fails if the room has changed since it was read.
    """
    last, line = int(room.last_seq), line_of(room)
    moment = max(times.text(now), room.updated_at)
    write = update(
        "room",
        Chatroom(room.user_id, room.chatroom_id),
        [Chatroom.last_seq.set(last + 2), Chatroom.updated_at.set(moment)],
        _is_unchanged(room) & (Chatroom.updated_at == room.updated_at),
    )
    return _turn(room, last + 1, line), write


def _turn(room: Chatroom, seq: int, line: Line) -> Turn:
    return Turn(
        user_id=room.user_id,
        chatroom_id=room.chatroom_id,
        seq=seq,
        model=room.model,
        thinking=room.thinking,
        system_instruction=room.system_instruction,
        hidden=line.hidden,
        title_due=is_title_due(room),
    )


def is_title_due(room: Chatroom) -> bool:
    """Return whether the room has the default title, and no title is being generated."""
    return room.auto_title == DUE


def replace_turns(room: Chatroom, seq: int, now: datetime) -> tuple[Turn, Write]:
    """Reserve the next turn, and hide the line from `seq` on; return the turn and the write "room".

    The write's condition fails if the room has had another turn, edit or undo since it was read.
    Raises TooManyEdits.
    """
    last = int(room.last_seq)
    line = line_of(room).hide_from(seq, last)
    reserve = Chatroom.last_seq.set(last + 2)
    return _turn(room, last + 1, line), _change_line(room, line, now, reserve)


def undo_edit(room: Chatroom, now: datetime) -> tuple[rooms.Room, Write]:
    """Return the room, and the write "room" that restores the line from before its latest edit.

    The write's condition fails if the room has had another turn, edit or undo since it was read.
    Raises NothingToUndo.
    """
    line = line_of(room).undo(int(room.last_seq))
    write = _change_line(room, line, now)
    room.line, room.updated_at = _encode(line), times.text(now)
    return view(room), write


def _change_line(room: Chatroom, line: Line, now: datetime, *more: Action) -> Write:
    return update(
        "room",
        Chatroom(room.user_id, room.chatroom_id),
        [
            Chatroom.line.set(_encode(line)),
            Chatroom.updated_at.set(times.text(now)),
            *more,
        ],
        _is_unchanged(room),
    )


def _is_unchanged(room: Chatroom) -> Condition:
    """Return the condition that the room has had no turn, edit or undo since it was read."""
    same = Chatroom.line == room.line if room.line else Chatroom.line.does_not_exist()
    unchanged: Condition = (Chatroom.last_seq == room.last_seq) & same
    return unchanged


def correct_last(room: Chatroom, last: int) -> bool:
    """Set the position of the last reserved reply.

    Returns False, and sets nothing, if the room has changed since it was read.
    """
    stored = Chatroom(room.user_id, room.chatroom_id)
    return update_if(stored, [Chatroom.last_seq.set(last)], _is_unchanged(room))


def line_of(room: Chatroom) -> Line:
    """Return the room's line: its hidden ranges and its edits."""
    return msgspec.json.decode(room.line, type=Line) if room.line else Line()


def is_hidden(room: Chatroom, seq: int) -> bool:
    """Return whether the room hides a position."""
    return line_of(room).hidden.has_position(seq)


def _encode(line: Line) -> str:
    return msgspec.json.encode(line).decode()


def note_activity(user_id: str, chatroom_id: str, now: datetime) -> Write:
    """Return the write "room", which notes an activity and requires that the user's room exists."""
    room = Chatroom(user_id, chatroom_id)
    activity = Chatroom.updated_at.set(times.text(now))
    return update("room", room, [activity], Chatroom.chatroom_id.exists())


def change(user_id: str, chatroom_id: str, change: rooms.RoomChange, now: datetime) -> rooms.Room:
    """Change the user's room and return it. Raises NotFound."""
    actions: list[Action] = [Chatroom.updated_at.set(times.text(now))]
    if change.title is not UNSET:
        actions.append(Chatroom.title.set(change.title or rooms.DEFAULT_TITLE))
        auto_title = Chatroom.auto_title
        actions.append(auto_title.remove() if change.title else auto_title.set(DUE))
    if change.model is not UNSET:
        actions.append(Chatroom.model.set(change.model or models.DEFAULT))
    if change.thinking is not UNSET:
        level = change.thinking
        actions.append(Chatroom.thinking.set(level) if level else Chatroom.thinking.remove())
    if change.system_instruction is not UNSET:
        instruction = change.system_instruction
        actions.append(
            Chatroom.system_instruction.set(instruction)
            if instruction
            else Chatroom.system_instruction.remove()
        )
    room = Chatroom(user_id, chatroom_id)
    if not update_if(room, actions, Chatroom.chatroom_id.exists()):
        raise NotFound()
    return view(room)


def start_title(user_id: str, chatroom_id: str, title_id: str, words: str) -> Write:
    """Return the write "room", which replaces a room's default title by a prompt's first words.

    Gemini's title replaces these words later. The write's condition fails if the room does not have
    its default title.
    """
    actions = [Chatroom.title.set(words), Chatroom.auto_title.set(title_id)]
    return update("room", Chatroom(user_id, chatroom_id), actions, Chatroom.auto_title == DUE)


def finish_title(user_id: str, chatroom_id: str, title_id: str, title: str) -> Write:
    """Return the write "room", which gives a room its generated title.

    Its condition fails if the user has named the room since `start_title`.
    """
    actions = [Chatroom.title.set(title), Chatroom.auto_title.remove()]
    return update("room", Chatroom(user_id, chatroom_id), actions, Chatroom.auto_title == title_id)


def delete_room(user_id: str, chatroom_id: str) -> Write:
    """Return the write "room", which deletes the user's room and requires that it exists."""
    return delete("room", Chatroom(user_id, chatroom_id), Chatroom.chatroom_id.exists())


def view(room: Chatroom) -> rooms.Room:
    """Return the room as the API shows it."""
    return rooms.Room(
        id=room.chatroom_id,
        title=room.title,
        system_instruction=room.system_instruction,
        model=room.model,
        thinking=Thinking.read(room.thinking),
        can_undo=bool(line_of(room).edits),
        created_at=room.created_at,
        updated_at=room.updated_at,
    )
