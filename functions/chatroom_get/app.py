"""GET /chatroom/{id}: a room with a page of its messages, newest page first."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.rooms import RoomWithMessages
from geminichat.tables import chatrooms, messages


@endpoint
def handler(request: Request) -> Response:
    """Answer 200 with the room; its messages stand in the order they were sent."""
    scope = f"messages of {request.path['id']}"
    limit, before = request.page(scope, int)

    room = chatrooms.get(request.user_id, request.path["id"])
    shown, oldest = messages.newest(room.id, limit, before)
    return ok(
        RoomWithMessages.of(room, shown, request.cursor(scope, oldest)),
        "Chatroom found.",
    )
