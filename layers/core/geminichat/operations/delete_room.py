"""Delete a room at once; the sweep deletes its messages."""

from datetime import datetime

from geminichat.errors import NotFound
from geminichat.tables import chatrooms, messages, usage
from geminichat.tables.table import transact_if
from geminichat.upstash import room_list_cache


def delete(user_id: str, room_id: str, now: datetime) -> None:
    """Delete the user's room and leave a tombstone for the sweep. Raises NotFound."""
    room_list_cache.announce(room_list_cache.deletion_notice(room_id, now), user_id)
    deleted = transact_if(
        chatrooms.delete_room(user_id, room_id),
        messages.put_tombstone(user_id, room_id, now),
        usage.discount_room(user_id),
    )
    if not deleted:
        raise NotFound()
