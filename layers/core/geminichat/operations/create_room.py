"""Create a room, within the number of rooms that the user's plan allows."""

from datetime import datetime

from geminichat import config
from geminichat.domain import ids
from geminichat.domain.plans import Plan
from geminichat.domain.rooms import NewRoom, Room
from geminichat.domain.sessions import ENDED, Claims
from geminichat.errors import TooManyRooms, Unauthorized
from geminichat.tables import chatrooms, subscriptions, usage, users
from geminichat.tables.table import ConditionsFailed, Write, transact
from geminichat.upstash import room_list_cache


def create(caller: Claims, new: NewRoom, now: datetime) -> Room:
    """Store a new room, counted in the same transaction.

    The plan is read only for users who have as many rooms as the basic plan allows.
    Raises TooManyRooms, and Unauthorized if the session has ended.
    """
    user_id = caller.user_id
    room_id = ids.new("r")
    room_list_cache.announce(room_list_cache.creation_notice(room_id, now), user_id)
    room, put_room = chatrooms.put_room(user_id, room_id, new, now)
    limit = config.number("BASIC_ROOMS")
    if _store(caller, now, put_room, usage.count_room(user_id, limit)):
        return room
    if subscriptions.plan_of(subscriptions.load(user_id), now) is Plan.PRO:
        limit = config.number("PRO_ROOMS")
        if _store(caller, now, put_room, usage.count_room(user_id, limit)):
            return room
    raise TooManyRooms(f"You have {limit:,} chatrooms, the maximum of your plan. Delete one first.")


def _store(caller: Claims, now: datetime, *writes: Write) -> bool:
    """Commit the writes, and return whether the number of rooms allowed it."""
    try:
        transact(*writes, users.check_session(caller, now))
    except ConditionsFailed as error:
        if error.of("session"):
            raise Unauthorized(ENDED) from error
        return False
    return True
