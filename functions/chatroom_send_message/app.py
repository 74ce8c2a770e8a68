"""POST /chatroom/{id}/message: store a prompt and queue it for Gemini."""

from geminichat.api import Request, Response, accepted, endpoint
from geminichat.domain import ids
from geminichat.domain.messages import AcceptedPrompt, NewPrompt
from geminichat.domain.quota import REFUSALS
from geminichat.errors import KeyInUse, KeyReused, NotFound
from geminichat.operations import send_prompt


@endpoint(errors=[KeyInUse, KeyReused, NotFound, *REFUSALS])
def handler(request: Request) -> Response[AcceptedPrompt]:
    """Answer 202; the reply follows, or the prompt fails."""
    room_id = ids.parse_room(request.path["id"])
    prompt = request.body(NewPrompt)
    key = request.idempotency_key()

    sent = send_prompt.send(request.caller, room_id, prompt, key, request.now)

    return accepted(
        sent.prompt, "The prompt was accepted; the reply will follow.", headers=sent.headers
    )
