"""Create a room, within the number of rooms that the user's plan allows."""

from datetime import datetime

from geminichat import config
from geminichat.domain import ids
from geminichat.domain.plans import Plan
from geminichat.domain.rooms import NewRoom, Room
from geminichat.errors import TooManyRooms
from geminichat.tables import chatrooms, subscriptions, usage
from geminichat.tables.table import transact_if
from geminichat.upstash import room_list_cache


def create(user_id: str, new: NewRoom, now: datetime) -> Room:
    """Store a new room, counted in the same transaction. Raises TooManyRooms.

    The plan is read only by users who have as many rooms as the basic plan allows.
    """
    room_id = ids.new("r")
    room_list_cache.announce(room_list_cache.creation_notice(room_id, now), user_id)
    room, put_room = chatrooms.put_room(user_id, room_id, new, now)
    limit = config.number("BASIC_ROOMS")
    if transact_if(put_room, usage.count_room(user_id, limit)):
        return room
    if subscriptions.plan_of(subscriptions.load(user_id), now) is Plan.PRO:
        limit = config.number("PRO_ROOMS")
        if transact_if(put_room, usage.count_room(user_id, limit)):
            return room
    raise TooManyRooms(f"You have {limit:,} chatrooms, the most of your plan. Delete one first.")
