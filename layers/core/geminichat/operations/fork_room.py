"""Fork a room: copy its line up to a message into a new room."""

from datetime import datetime

from geminichat.domain import ids, times
from geminichat.domain.quota import DAILY_FORKS
from geminichat.domain.rooms import Room
from geminichat.domain.sessions import Claims
from geminichat.errors import ChangedMeanwhile, KeyInUse, NotFound, TooManyRequests, Unavailable
from geminichat.operations import create_room
from geminichat.tables import chatrooms, idempotency_keys, usage
from geminichat.tables.idempotency_keys import KeyedRequest
from geminichat.tables.messages import forks, stored, tombstones
from geminichat.tables.table import ConditionsFailed
from geminichat.upstash import change_notices


def fork(
    caller: Claims, room_id: str, seq: int, idempotency_key: str | None, now: datetime
) -> Room:
    """Copy the room's line, up to the turn at a position, into a new room; return the new room.

    The new room appears when everything is copied. Until then it has a tombstone, so that the sweep
    deletes the messages of an incomplete fork. Raises NotFound, ChangedMeanwhile, StillGenerating,
    RoomTooLong, TooManyRooms, TooManyRequests, KeyInUse, KeyReused, Unavailable, and Unauthorized
    if the session has ended.
    """
    user_id = caller.user_id
    request = KeyedRequest.of(idempotency_key, room_id, "fork", str(seq))
    use, room, prompt = idempotency_keys.read(
        caller, request, now, chatrooms.key_of(user_id, room_id), stored.key_of(room_id, seq)
    )
    if use:
        copy, _ = chatrooms.get(caller, use.chatroom_id, now)
        return copy
    if room is None or prompt is None:
        raise NotFound()
    hidden = chatrooms.line_of(room).hidden
    if hidden.has_position(seq):
        raise ChangedMeanwhile()

    fork_id = ids.new("r")
    _begin(caller, fork_id, now)
    last = forks.copy_line(room_id, hidden, seq + 1, fork_id)

    change_notices.announce(change_notices.notice("created", fork_id, now), user_id)
    copy, put_room = chatrooms.put_copy(room, fork_id, last, now)
    writes = [put_room, tombstones.delete_tombstone(fork_id)]
    if request:
        writes.append(idempotency_keys.put_key(user_id, request, fork_id, now))
    try:
        create_room.commit(caller, now, *writes)
    except ConditionsFailed as error:
        raise (KeyInUse() if error.of("idempotency key") else Unavailable()) from error
    return copy


def _begin(caller: Claims, fork_id: str, now: datetime) -> None:
    """Count the fork and store its tombstone. Raises TooManyRooms, TooManyRequests."""
    try:
        create_room.commit(
            caller,
            now,
            tombstones.put_tombstone(caller.user_id, fork_id, now),
            usage.count_fork(caller.user_id, now),
            count=usage.check_rooms,
        )
    except ConditionsFailed as error:
        resets = times.next_day(now)
        raise TooManyRequests(
            f"At most {DAILY_FORKS} chatrooms can be forked per day. Fork this one again at "
            f"{times.text(resets)}.",
            retry_after=times.seconds_until(resets, now),
        ) from error
