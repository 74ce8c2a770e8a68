"""DELETE /chatroom/{id}: delete a room at once, and its messages after it."""

from geminichat import cache
from geminichat.api import Request, Response, endpoint, no_content
from geminichat.domain import ids
from geminichat.tables import deletions


@endpoint
def handler(request: Request) -> Response:
    """Answer 204; the sweep deletes the messages, however many they are."""
    room_id = ids.known("r", request.path["id"])
    cache.announce(cache.deleted(room_id), request.user_id)
    deletions.bury_room(request.user_id, room_id, request.now)
    return no_content()
