"""GET /chatroom/{id}/message/{messageId}: one message; a prompt includes its status and reply."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.messages import Message
from geminichat.errors import InvalidRequest, NotFound
from geminichat.tables.messages import partials


@endpoint(errors=[InvalidRequest, NotFound])
def handler(request: Request) -> Response[Message]:
    """Answer 200 with the message; with `from`, it includes the text of an unfinished reply."""
    room_id, message_id = request.path["id"], request.path["messageId"]
    message = partials.get(request.caller, room_id, message_id, request.now, request.start())
    return ok(message, "Message found.")
