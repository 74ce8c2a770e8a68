"""POST /chatroom/{id}/fork: copy a room's messages, up to a given one, into a new room."""

from geminichat.api import Request, Response, created, endpoint
from geminichat.domain import ids
from geminichat.domain.rooms import Fork, Room
from geminichat.errors import (
    ChangedMeanwhile,
    KeyInUse,
    KeyReused,
    NotFound,
    RoomTooLong,
    StillGenerating,
    TooManyRequests,
    TooManyRooms,
)
from geminichat.operations import fork_room


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
    up_to = request.body(Fork).up_to

    room = fork_room.fork(
        request.caller,
        room_id,
        ids.prompt_seq(room_id, up_to),
        request.idempotency_key(),
        request.now,
    )

    return created(room, "Chatroom forked.", headers={"location": f"/chatroom/{room.id}"})
