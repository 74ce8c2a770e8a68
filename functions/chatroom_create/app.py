"""POST /chatroom: create a room."""

from geminichat.api import Request, Response, created, endpoint
from geminichat.domain.rooms import NewRoom, Room
from geminichat.errors import TooManyRooms
from geminichat.operations import create_room


@endpoint(errors=[TooManyRooms])
def handler(request: Request) -> Response[Room]:
    """Answer 201 with the room."""
    new = request.body(NewRoom, optional=True)

    room = create_room.create(request.user_id, new, request.now)

    return created(room, "Chatroom created.", headers={"location": f"/chatroom/{room.id}"})
