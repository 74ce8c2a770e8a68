"""DELETE /chatroom/{id}: delete a room at once, and its messages after it."""

from geminichat.api import Request, Response, endpoint, no_content
from geminichat.domain import ids
from geminichat.errors import NotFound
from geminichat.operations import delete_room
from geminichat.upstash import room_list_cache


@endpoint(errors=[NotFound])
def handler(request: Request) -> Response:
    """Answer 204; the sweep deletes the messages, however many they are."""
    room_id = ids.known("r", request.path["id"])
    room_list_cache.announce(room_list_cache.deleted(room_id), request.user_id)
    delete_room.bury_room(request.user_id, room_id, request.now)
    return no_content()
