"""GET /chatroom: a page of the user's rooms, latest activity first."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.rooms import Position, RoomPage
from geminichat.errors import InvalidRequest
from geminichat.tables import chatrooms, users
from geminichat.upstash import room_list_cache


@endpoint(errors=[InvalidRequest])
def handler(request: Request) -> Response[RoomPage]:
    """Answer 200 with the page and whether it came from the cache."""
    limit, after = request.page("rooms", Position)
    users.read_current(request.caller, request.now)

    first = after is None
    cached, notices = room_list_cache.find_rooms(request.user_id, limit) if first else (None, None)
    if cached:
        return ok(cached, "Chatrooms from cache.", headers={"x-cache": "hit"})

    rooms, following = chatrooms.read_rooms(request.user_id, limit, after)
    page = RoomPage(chatrooms=rooms, next_cursor=request.cursor("rooms", following))
    room_list_cache.store_rooms(request.user_id, limit, page, notices)
    return ok(page, "Chatrooms from DB.", headers={"x-cache": "miss"})
