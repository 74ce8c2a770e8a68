"""POST /chatroom/{id}/message/{messageId}/stop: stop a queued or generating prompt."""

from geminichat.api import Request, Response, accepted, endpoint
from geminichat.domain import ids
from geminichat.domain.messages import StopRequest
from geminichat.errors import NotFound, NotGenerating
from geminichat.operations import stop_prompt


@endpoint(errors=[NotFound, NotGenerating])
def handler(request: Request) -> Response[StopRequest]:
    """Answer 202: a queued prompt ends without a reply, a generating one with the text so far."""
    room_id, message_id = ids.parse_room(request.path["id"]), request.path["messageId"]

    status = stop_prompt.stop(request.caller, room_id, message_id, request.now)

    stopped = StopRequest(message_id=message_id, status=status)
    return accepted(stopped, "The prompt is stopped; the text so far is its reply.")
