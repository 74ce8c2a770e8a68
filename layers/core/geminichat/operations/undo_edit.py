"""Undo the latest edit or regeneration of a room."""

from datetime import datetime

from geminichat.domain.rooms import Room
from geminichat.domain.sessions import Claims
from geminichat.errors import ChangedMeanwhile, KeyInUse, NotFound
from geminichat.tables import chatrooms, idempotency_keys, users
from geminichat.tables.idempotency_keys import KeyedRequest
from geminichat.tables.table import ConditionsFailed
from geminichat.upstash import change_notices


def undo(caller: Claims, room_id: str, idempotency_key: str | None, now: datetime) -> Room:
    """Restore a room's line from before its latest edit, once per idempotency key.

    Returns the room. Raises NotFound, NothingToUndo, ChangedMeanwhile, KeyInUse, KeyReused, and
    Unauthorized if the session has ended.
    """
    user_id = caller.user_id
    request = KeyedRequest.of(idempotency_key, room_id, "undo")
    key = chatrooms.key_of(user_id, room_id)
    use, room = idempotency_keys.read(caller, request, now, key)
    if room is None:
        raise NotFound()
    if use:
        return chatrooms.view(room)
    undone, write = chatrooms.undo_edit(room, now)

    change_notices.announce(change_notices.notice("changed", room_id, now), user_id)
    writes = [write]
    if request:
        writes.append(idempotency_keys.put_key(user_id, request, room_id, now))
    try:
        users.transact_as(caller, now, *writes)
    except ConditionsFailed as error:
        if error.of("idempotency key"):
            raise KeyInUse() from error
        raise ChangedMeanwhile() from error
    return undone
