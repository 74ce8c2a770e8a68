"""GET /chatroom/{id}: a room with a page of its messages, newest page first."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain import ids
from geminichat.domain.rooms import RoomWithMessages
from geminichat.errors import InvalidRequest, NotFound
from geminichat.runtime.http_client import side_by_side
from geminichat.tables import chatrooms, messages


@endpoint(errors=[InvalidRequest, NotFound])
def handler(request: Request) -> Response[RoomWithMessages]:
    """Answer 200 with the room; its messages stand in the order they were sent."""
    room_id = ids.known("r", request.path["id"])
    scope = f"messages of {room_id}"
    limit, before = request.page(scope, int)

    room, (shown, oldest) = side_by_side(
        lambda: chatrooms.get(request.user_id, room_id),
        lambda: messages.newest(room_id, limit, before),
    )
    return ok(RoomWithMessages.of(room, shown, request.cursor(scope, oldest)), "Chatroom found.")
