"""The chatrooms table: one partition a user, so a room is only ever found under its owner."""

from datetime import datetime

import msgspec
from msgspec import UNSET
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.update import Action
from pynamodb.indexes import AllProjection, LocalSecondaryIndex

from geminichat.domain import ids, rooms, times
from geminichat.errors import NotFound
from geminichat.tables.table import Table, update_if


class ByActivity(LocalSecondaryIndex["Chatroom"]):
    """A user's rooms in the order of their latest activity."""

    class Meta:
        index_name = "by-activity"
        projection = AllProjection()

    user_id = UnicodeAttribute(hash_key=True)
    updated_at = UnicodeAttribute(range_key=True)


class Chatroom(Table):
    """A room and its settings; `last_seq` is the place of the last reply that was reserved."""

    class Meta:
        setting = "CHATROOMS_TABLE"

    user_id = UnicodeAttribute(hash_key=True)
    chatroom_id = UnicodeAttribute(range_key=True)
    title = UnicodeAttribute()
    system_instruction = UnicodeAttribute(null=True)
    model = UnicodeAttribute()
    last_seq = NumberAttribute(default=0)
    created_at = UnicodeAttribute()
    updated_at = UnicodeAttribute()
    by_activity = ByActivity()


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt's reserved place, its reply's being the next, and the room's settings by then."""

    user_id: str
    chatroom_id: str
    seq: int
    model: str
    system_instruction: str | None


def has_any(user_id: str) -> bool:
    """Say whether the user has a room."""
    found = Chatroom.query(
        user_id, attributes_to_get=["chatroom_id"], consistent_read=True, limit=1
    )
    return next(iter(found), None) is not None


def create(user_id: str, chatroom_id: str, wanted: rooms.NewRoom, now: datetime) -> rooms.Room:
    """Open a room under a new id and return it."""
    moment = times.text(now)
    room = Chatroom(
        user_id,
        chatroom_id,
        title=wanted.title or rooms.DEFAULT_TITLE,
        system_instruction=wanted.system_instruction,
        model=wanted.model or rooms.DEFAULT_MODEL,
        created_at=moment,
        updated_at=moment,
    )
    room.save()
    return view(room)


def get(user_id: str, chatroom_id: str) -> rooms.Room:
    """Return the user's room. Raises NotFound."""
    try:
        found = Chatroom.get(user_id, ids.known("r", chatroom_id), consistent_read=True)
    except Chatroom.DoesNotExist:
        raise NotFound() from None
    return view(found)


def page(
    user_id: str, limit: int, after: rooms.Position | None = None
) -> tuple[list[rooms.Room], rooms.Position | None]:
    """Return a page of the user's rooms, latest activity first, and where the next one starts."""
    start = None
    if after:
        start = {
            "user_id": {"S": user_id},
            "chatroom_id": {"S": after.chatroom_id},
            "updated_at": {"S": after.updated_at},
        }
    found = list(
        Chatroom.by_activity.query(
            user_id,
            scan_index_forward=False,
            consistent_read=True,
            limit=limit + 1,
            last_evaluated_key=start,
        )
    )
    shown = found[:limit]
    following = None
    if len(found) > limit:
        following = rooms.Position(
            chatroom_id=shown[-1].chatroom_id, updated_at=shown[-1].updated_at
        )
    return [view(room) for room in shown], following


def take_turn(user_id: str, chatroom_id: str, now: datetime) -> Turn:
    """Reserve the next prompt's place and its reply's, and touch the room. Raises NotFound.

    A place that is reserved and not used leaves a gap in the numbers and nothing else.
    """
    room = Chatroom(user_id, ids.known("r", chatroom_id))
    moment = times.text(now)
    active: list[Action] = [Chatroom.last_seq.add(2), Chatroom.updated_at.set(moment)]
    if not update_if(room, active, Chatroom.updated_at <= moment):
        # There is no such room, or it was active later: the list's order never goes back.
        _update(room, [Chatroom.last_seq.add(2)])
    return Turn(
        user_id=user_id,
        chatroom_id=chatroom_id,
        seq=int(room.last_seq) - 1,
        model=room.model,
        system_instruction=room.system_instruction,
    )


def change(user_id: str, chatroom_id: str, wanted: rooms.RoomChange, now: datetime) -> rooms.Room:
    """Change what is wanted of the user's room and return it. Raises NotFound."""
    actions: list[Action] = [Chatroom.updated_at.set(times.text(now))]
    if wanted.title is not UNSET:
        actions.append(Chatroom.title.set(wanted.title or rooms.DEFAULT_TITLE))
    if wanted.model is not UNSET:
        actions.append(Chatroom.model.set(wanted.model or rooms.DEFAULT_MODEL))
    if wanted.system_instruction is not UNSET:
        instruction = wanted.system_instruction
        actions.append(
            Chatroom.system_instruction.set(instruction)
            if instruction
            else Chatroom.system_instruction.remove()
        )
    room = Chatroom(user_id, ids.known("r", chatroom_id))
    _update(room, actions)
    return view(room)


def _update(room: Chatroom, actions: list[Action]) -> None:
    if not update_if(room, actions, Chatroom.chatroom_id.exists()):
        raise NotFound()


def view(room: Chatroom) -> rooms.Room:
    """Return the room as the wire shows it."""
    return rooms.Room(
        id=room.chatroom_id,
        title=room.title,
        system_instruction=room.system_instruction,
        model=room.model,
        created_at=room.created_at,
        updated_at=room.updated_at,
    )
