"""GET /chatroom/{id}: a room with a page of its messages, newest page first."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain import ids
from geminichat.domain.conversations import RoomWithMessages
from geminichat.errors import InvalidRequest, NotFound
from geminichat.tables.messages import pages


@endpoint(errors=[InvalidRequest, NotFound])
def handler(request: Request) -> Response[RoomWithMessages]:
    """Answer 200 with the room; within a page, messages are in the order they have in the room."""
    room_id = ids.parse_room(request.path["id"])
    scope = f"messages of {room_id}"
    limit, before = request.page(scope, int)

    room, page, oldest = pages.read_newest(request.caller, room_id, limit, before, request.now)

    return ok(RoomWithMessages.of(room, page, request.cursor(scope, oldest)), "Chatroom found.")
