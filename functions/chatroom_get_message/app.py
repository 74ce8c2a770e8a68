"""GET /chatroom/{id}/message/{messageId}: one message; a prompt with its status and reply."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.messages import Message
from geminichat.errors import NotFound
from geminichat.tables import messages


@endpoint(errors=[NotFound])
def handler(request: Request) -> Response[Message]:
    """Answer 200 with the message."""
    room_id, message_id = request.path["id"], request.path["messageId"]
    message = messages.get(request.caller, room_id, message_id, request.now)
    return ok(message, "Message found.")
