"""PATCH /chatroom/{id}: change a room's title, instruction, model or thinking level."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain import ids
from geminichat.domain.rooms import Room, RoomChange
from geminichat.errors import ModelNotIncluded, NotFound
from geminichat.operations import choose_model
from geminichat.tables import chatrooms, users
from geminichat.upstash import change_notices


@endpoint(errors=[NotFound, ModelNotIncluded])
def handler(request: Request) -> Response[Room]:
    """Answer 200 with the changed room."""
    change = request.body(RoomChange)
    room_id = ids.parse_room(request.path["id"])
    users.read_current(request.caller, request.now)
    choose_model.require(request.caller, change.model, request.now)

    notice = change_notices.notice("changed", room_id, request.now)
    change_notices.announce(notice, request.user_id)
    room = chatrooms.change(request.user_id, room_id, change, request.now)

    return ok(room, "Chatroom changed.")
