"""POST /chatroom/{id}/fork: copy a room's messages, up to a given one, into a new room."""

from datetime import datetime

from geminichat.api import Request, Response, created, endpoint
from geminichat.domain import ids, times
from geminichat.domain.quota import DAILY_FORKS
from geminichat.domain.rooms import Fork, Room
from geminichat.domain.sessions import Claims
from geminichat.errors import (
    ChangedMeanwhile,
    KeyInUse,
    KeyReused,
    NotFound,
    RoomTooLong,
    StillGenerating,
    TooManyRequests,
    TooManyRooms,
    Unavailable,
)
from geminichat.operations import create_room
from geminichat.tables import chatrooms, idempotency_keys, usage
from geminichat.tables.idempotency_keys import KeyedRequest
from geminichat.tables.messages import forks, stored, tombstones
from geminichat.tables.table import ConditionsFailed
from geminichat.upstash import change_notices


@endpoint(
    errors=[
        ChangedMeanwhile,
        KeyInUse,
        KeyReused,
        NotFound,
        RoomTooLong,
        StillGenerating,
        TooManyRequests,
        TooManyRooms,
    ],
    within=8,
)
def handler(request: Request) -> Response[Room]:
    """Answer 201 with the new room: the same settings, and the turns up to the message `upTo`.

    Hidden turns are not copied. The copies do not count as prompts, but the new room counts
    towards the number of rooms that the plan allows.
    """
    room_id = ids.parse_room(request.path["id"])
    seq = ids.prompt_seq(room_id, request.body(Fork).up_to)
    keyed = KeyedRequest.of(request.idempotency_key(), room_id, "fork", str(seq))

    room = _fork(request.caller, room_id, seq, keyed, request.now)

    return created(room, "Chatroom forked.", headers={"location": f"/chatroom/{room.id}"})


def _fork(
    caller: Claims, room_id: str, seq: int, request: KeyedRequest | None, now: datetime
) -> Room:
    """Copy the room's line, up to the turn at a position, into a new room; return the new room.

    The new room appears when everything is copied. Until then it has a tombstone, so that the sweep
    deletes the messages of an incomplete fork.
    """
    user_id = caller.user_id
    use, room, prompt = idempotency_keys.read(
        caller, request, now, chatrooms.key_of(user_id, room_id), stored.key_of(room_id, seq)
    )
    if use:
        copy, _ = chatrooms.get(caller, use.chatroom_id, now)
        return copy
    if room is None or prompt is None:
        raise NotFound()
    if chatrooms.is_hidden(room, seq):
        raise ChangedMeanwhile()

    fork_id = ids.new("r")
    _begin(caller, fork_id, now)
    last = forks.copy_line(room_id, chatrooms.line_of(room).hidden, seq + 1, fork_id)

    change_notices.announce(change_notices.notice("created", fork_id, now), user_id)
    copy, put_room = chatrooms.put_copy(room, fork_id, last, now)
    put_key = idempotency_keys.put_key(user_id, request, fork_id, now)
    try:
        create_room.commit(caller, now, put_room, tombstones.delete_tombstone(fork_id), *put_key)
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
            f"At most {DAILY_FORKS} chatrooms can be forked per day. Fork this chatroom at "
            f"{times.text(resets)} or later.",
            retry_after=times.seconds_until(resets, now),
        ) from error
