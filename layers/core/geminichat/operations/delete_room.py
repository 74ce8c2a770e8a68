"""Delete a room at once; the sweep deletes its messages."""

from datetime import datetime

from geminichat.domain.sessions import Claims
from geminichat.errors import NotFound
from geminichat.tables import chatrooms, usage, users
from geminichat.tables.messages import tombstones
from geminichat.tables.table import ConditionsFailed
from geminichat.upstash import change_notices


def delete(caller: Claims, room_id: str, now: datetime) -> None:
    """Delete the user's room and leave a tombstone for the sweep.

    Raises NotFound, and Unauthorized if the session has ended.
    """
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
