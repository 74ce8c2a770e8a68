"""DELETE /chatroom/{id}: delete a room at once, and its messages soon after."""

from geminichat.api import Request, Response, endpoint, no_content
from geminichat.domain import ids
from geminichat.errors import NotFound
from geminichat.operations import delete_room


@endpoint(errors=[NotFound])
def handler(request: Request) -> Response:
    """Answer 204; the sweep deletes the messages."""
    room_id = ids.parse_room(request.path["id"])

    delete_room.delete(request.caller, room_id, request.now)

    return no_content()
