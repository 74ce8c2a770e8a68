"""Create a room, within the number of rooms that the user's plan allows."""

from collections.abc import Callable
from datetime import datetime

from geminichat import config
from geminichat.domain import ids
from geminichat.domain.plans import Plan
from geminichat.domain.rooms import NewRoom, Room
from geminichat.domain.sessions import Claims
from geminichat.errors import TooManyRooms
from geminichat.tables import chatrooms, subscriptions, usage, users
from geminichat.tables.table import ConditionsFailed, Write
from geminichat.upstash import change_notices


def create(caller: Claims, new: NewRoom, now: datetime) -> Room:
    """Store a new room and count it in one transaction.

    Raises TooManyRooms, and Unauthorized if the session has ended.
    """
    room_id = ids.new("r")
    change_notices.announce(change_notices.notice("created", room_id, now), caller.user_id)
    room, put_room = chatrooms.put_room(caller.user_id, room_id, new, now)
    commit(caller, now, put_room)
    return room


def commit(
    caller: Claims,
    now: datetime,
    *writes: Write,
    count: Callable[[str, int], Write] = usage.count_room,
) -> None:
    """Commit a new room's writes if the user may have one more room, and count the room.

    The plan is read only for users who have as many rooms as the basic plan allows. Raises
    TooManyRooms, Unauthorized if the session has ended, and ConditionsFailed if a condition of
    `writes` failed.
    """
    user_id = caller.user_id
    limit = config.number("BASIC_ROOMS")
    if _commit(caller, now, *writes, count(user_id, limit)):
        return
    if subscriptions.plan_of(subscriptions.load(user_id), now) is Plan.PRO:
        limit = config.number("PRO_ROOMS")
        if _commit(caller, now, *writes, count(user_id, limit)):
            return
    raise TooManyRooms(
        f"You have {limit:,} chatrooms, the maximum of your plan. Delete a chatroom first."
    )


def _commit(caller: Claims, now: datetime, *writes: Write) -> bool:
    """Commit the writes; return False if the user has too many rooms."""
    try:
        users.transact_as(caller, now, *writes)
    except ConditionsFailed as error:
        if not error.has_only("rooms"):
            raise
        return False
    return True
