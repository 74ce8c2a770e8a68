"""GET /chatroom/{id}: a room with a page of its messages, the newest page first."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain import ids
from geminichat.domain.conversations import RoomWithMessages
from geminichat.errors import InvalidRequest, NotFound
from geminichat.tables.messages import pages


@endpoint(errors=[InvalidRequest, NotFound])
def handler(request: Request) -> Response[RoomWithMessages]:
    """Answer 200 with the room; a page has its oldest message first."""
    room_id = ids.parse_room(request.path["id"])
    scope = f"messages of {room_id}"
    limit, before = request.page(scope, int)

    room, page, oldest = pages.read_newest(request.caller, room_id, limit, before, request.now)

    return ok(RoomWithMessages.of(room, page, request.cursor(scope, oldest)), "Chatroom found.")
