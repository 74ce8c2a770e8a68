"""GET /chatroom/{id}/message/{messageId}: one message; a prompt with its status and reply."""

from geminichat.api import Request, Response, endpoint, ok
from geminichat.domain.messages import Message
from geminichat.errors import NotFound
from geminichat.tables import messages


@endpoint(errors=[NotFound])
def handler(request: Request) -> Response[Message]:
    """Answer 200 with the message."""
    message = messages.get(request.user_id, request.path["id"], request.path["messageId"])
    return ok(message, "Message found.")
