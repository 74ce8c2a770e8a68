"""POST /chatroom: create a room."""

from geminichat.api import Request, Response, created, endpoint
from geminichat.domain.rooms import NewRoom, Room
from geminichat.errors import ModelNotIncluded, TooManyRooms
from geminichat.operations import choose_model, create_room


@endpoint(errors=[ModelNotIncluded, TooManyRooms])
def handler(request: Request) -> Response[Room]:
    """Answer 201 with the room."""
    new = request.body(NewRoom, optional=True)
    choose_model.require(request.caller, new.model, request.now)

    room = create_room.create(request.caller, new, request.now)

    return created(room, "Chatroom created.", headers={"location": f"/chatroom/{room.id}"})
