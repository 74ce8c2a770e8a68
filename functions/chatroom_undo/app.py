"""POST /chatroom/{id}/undo: undo the latest edit or regeneration."""

from datetime import datetime

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain import ids
from geminichat.domain.rooms import Room
from geminichat.domain.sessions import Claims
from geminichat.errors import (
    ChangedMeanwhile,
    InvalidRequest,
    KeyInUse,
    KeyReused,
    NotFound,
    NothingToUndo,
)
from geminichat.tables import chatrooms, idempotency_keys, users
from geminichat.tables.idempotency_keys import KeyedRequest
from geminichat.tables.table import ConditionsFailed
from geminichat.upstash import change_notices


@endpoint(errors=[ChangedMeanwhile, InvalidRequest, KeyInUse, KeyReused, NotFound, NothingToUndo])
def handler(request: Request) -> Response[Room]:
    """Answer 200 with the room, which shows the messages from before the edit or regeneration.

    The turns since then are hidden, and their prompts without a reply are stopped. A second undo
    reverses the previous edit or regeneration.
    """
    room_id = ids.parse_room(request.path["id"])
    keyed = KeyedRequest.of(request.idempotency_key(), room_id, "undo")

    room = _undo(request.caller, room_id, keyed, request.now)

    return ok(room, "The latest edit or regeneration was undone.")


def _undo(caller: Claims, room_id: str, request: KeyedRequest | None, now: datetime) -> Room:
    """Undo the latest edit of a room, once per idempotency key, and return the room."""
    key = chatrooms.key_of(caller.user_id, room_id)
    use, room = idempotency_keys.read(caller, request, now, key)
    if room is None:
        raise NotFound()
    if use:
        return chatrooms.view(room)
    try:
        undone, write = chatrooms.undo_edit(room, now)
    except NothingToUndo:
        idempotency_keys.require_unused(caller, request, now)
        raise

    change_notices.announce(change_notices.notice("changed", room_id, now), caller.user_id)
    put_key = idempotency_keys.put_key(caller.user_id, request, room_id, now)
    try:
        users.transact_as(caller, now, write, *put_key)
    except ConditionsFailed as error:
        raise (KeyInUse() if error.of("idempotency key") else ChangedMeanwhile()) from error
    return undone
