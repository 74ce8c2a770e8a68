"""DELETE /chatroom/{id}: delete a room at once, and its messages soon after."""

from datetime import datetime

from geminichat.api import Request, Response, endpoint, no_content
from geminichat.domain import ids
from geminichat.domain.sessions import Claims
from geminichat.errors import NotFound
from geminichat.tables import chatrooms, usage, users
from geminichat.tables.messages import tombstones
from geminichat.tables.table import ConditionsFailed
from geminichat.upstash import change_notices


@endpoint(errors=[NotFound])
def handler(request: Request) -> Response:
    """Answer 204; the sweep deletes the messages."""
    room_id = ids.parse_room(request.path["id"])

    _delete(request.caller, room_id, request.now)

    return no_content()


def _delete(caller: Claims, room_id: str, now: datetime) -> None:
    """Delete the user's room, and leave a tombstone for the sweep."""
    user_id = caller.user_id
    change_notices.announce(change_notices.notice("deleted", room_id, now), user_id)
    try:
        users.transact_as(
            caller,
            now,
            chatrooms.delete_room(user_id, room_id),
            tombstones.put_tombstone(user_id, room_id, now),
            usage.uncount_room(user_id),
        )
    except ConditionsFailed as error:
        raise NotFound() from error
