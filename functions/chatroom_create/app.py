"""POST /chatroom: create a room."""

from geminichat.api import Request, Response, created, endpoint
from geminichat.domain import ids
from geminichat.domain.rooms import NewRoom, Room
from geminichat.tables import chatrooms
from geminichat.upstash import room_list_cache


@endpoint
def handler(request: Request) -> Response[Room]:
    """Answer 201 with the room."""
    new = request.body(NewRoom, optional=True)
    room_id = ids.new("r")

    notice = room_list_cache.creation_notice(room_id, request.now)
    room_list_cache.announce(notice, request.user_id)
    room = chatrooms.create(request.user_id, room_id, new, request.now)

    return created(room, "Chatroom created.", headers={"location": f"/chatroom/{room.id}"})
