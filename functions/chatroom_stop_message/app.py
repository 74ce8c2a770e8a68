"""POST /chatroom/{id}/message/{messageId}/stop: stop a queued or generating prompt."""

from datetime import datetime

from geminichat.api import Request, Response, accepted, endpoint
from geminichat.domain import ids
from geminichat.domain.messages import UNFINISHED, Status, StopRequest
from geminichat.domain.sessions import Claims
from geminichat.errors import NotFound, NotGenerating, Unavailable
from geminichat.operations import finish_prompt
from geminichat.tables import live
from geminichat.tables.messages import prompts

ATTEMPTS = 5
"""The number of tries to stop a prompt: its status may change between the read and the write."""


@endpoint(errors=[NotFound, NotGenerating])
def handler(request: Request) -> Response[StopRequest]:
    """Answer 202: a queued prompt ends without a reply, a generating one with the text so far."""
    room_id, message_id = ids.parse_room(request.path["id"]), request.path["messageId"]

    status = _stop(request.caller, room_id, message_id, request.now)

    stopped = StopRequest(message_id=message_id, status=status)
    return accepted(stopped, "The prompt is stopped; the text so far is its reply.")


def _stop(caller: Claims, room_id: str, message_id: str, now: datetime) -> Status:
    """Stop a prompt of the user's room, and return its status.

    A queued prompt is stopped and refunded. A generating one is marked for its worker, which reads
    the user's item in the live table each second.
    """
    seq = ids.message_seq(room_id, message_id)
    for _ in range(ATTEMPTS):
        _, prompt = prompts.get(caller, room_id, seq, now)
        if prompt.status not in UNFINISHED:
            raise NotGenerating()
        if prompt.status == Status.QUEUED and finish_prompt.stop_queued(prompt, now):
            return Status.STOPPED
        if prompt.status == Status.GENERATING and prompts.request_stop(room_id, seq):
            live.request_stop(caller.user_id, message_id, now)
            return Status.GENERATING
    raise Unavailable()
