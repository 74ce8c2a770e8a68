"""POST /chatroom/{id}/undo: undo the latest edit or regeneration."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain import ids
from geminichat.domain.rooms import Room
from geminichat.errors import (
    ChangedMeanwhile,
    InvalidRequest,
    KeyInUse,
    KeyReused,
    NotFound,
    NothingToUndo,
)
from geminichat.operations import undo_edit


@endpoint(errors=[ChangedMeanwhile, InvalidRequest, KeyInUse, KeyReused, NotFound, NothingToUndo])
def handler(request: Request) -> Response[Room]:
    """Answer 200 with the room, which shows the messages from before the edit or regeneration.

    The turns since then are hidden, and a prompt among them without a reply is stopped. A second
    undo reverses the edit before that one.
    """
    room_id = ids.parse_room(request.path["id"])

    room = undo_edit.undo(request.caller, room_id, request.idempotency_key(), request.now)

    return ok(room, "The conversation is as it was before.")
