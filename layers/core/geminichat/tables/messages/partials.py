"""Read a prompt with the text of its reply while Gemini writes the reply."""

from datetime import datetime

import msgspec

from geminichat.domain.messages import UNFINISHED, Message, Status
from geminichat.domain.sessions import Claims
from geminichat.tables import live, pieces
from geminichat.tables.messages import views


def get(
    caller: Claims, chatroom_id: str, message_id: str, now: datetime, start: int | None
) -> Message:
    """Return a message of the user's room; a prompt includes its reply.

    With `start`, a generating prompt includes the reply's text so far, from the offset `start` on.
    Raises NotFound, and Unauthorized if the session has ended.
    """
    if start is None:
        return views.get(caller, chatroom_id, message_id, now)
    shown, message, [watched] = views.read(
        caller, chatroom_id, message_id, now, live.key_of(caller.user_id)
    )
    if message.status in UNFINISHED:
        live.note_poll(caller.user_id, watched, now)
    if message.status != Status.GENERATING:
        return shown
    partial = pieces.read_text(
        message.chatroom_id, int(message.seq), int(message.attempt or 0), start
    )
    return msgspec.structs.replace(shown, partial=partial)
