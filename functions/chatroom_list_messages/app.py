"""GET /chatroom/{id}/message: a room's messages after a given one, for polling."""

from geminichat.api import Request, Response, add_etag, endpoint, ok
from geminichat.domain import ids
from geminichat.domain.messages import MessagePage
from geminichat.errors import InvalidRequest, NotFound
from geminichat.tables.messages import pages


@endpoint(errors=[InvalidRequest, NotFound])
def handler(request: Request) -> Response[MessagePage]:
    """Answer 200 with the messages in the order of the room, or 304 if nothing changed."""
    room_id = ids.parse_room(request.path["id"])
    scope = f"messages after in {room_id}"
    limit, position = request.page(scope, int)
    start = position or request.after(room_id)

    found, last, is_hidden = pages.read_after(request.caller, room_id, start, limit, request.now)

    after = ids.message_id(room_id, start) if start else None
    page = MessagePage.of(found, after, request.cursor(scope, last), reload=is_hidden)
    return add_etag(ok(page, "Messages found."), request)
