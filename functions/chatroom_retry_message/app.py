"""POST /chatroom/{id}/message/{messageId}/retry: queue a failed prompt again."""

from geminichat.api import Request, Response, accepted, endpoint
from geminichat.domain import ids
from geminichat.domain.messages import AcceptedPrompt
from geminichat.domain.quota import REFUSALS
from geminichat.errors import ChangedMeanwhile, NotFailed, NotFound
from geminichat.operations import send_prompt


@endpoint(errors=[ChangedMeanwhile, NotFailed, NotFound, *REFUSALS])
def handler(request: Request) -> Response[AcceptedPrompt]:
    """Answer 202: the prompt is queued again and counted like a new one."""
    room_id = ids.parse_room(request.path["id"])

    sent = send_prompt.retry(request.caller, room_id, request.path["messageId"], request.now)

    return accepted(
        sent.prompt, "The prompt was accepted again; the reply will follow.", headers=sent.headers
    )
