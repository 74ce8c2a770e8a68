"""POST /chatroom/{id}/message: store a prompt and queue it for Gemini."""

from geminichat.api import Request, Response, accepted, endpoint
from geminichat.clients import prompt_queue
from geminichat.domain import ids
from geminichat.domain.messages import Accepted, Message, NewPrompt, Status
from geminichat.errors import (
    KeyInUse,
    KeyReused,
    NotFound,
    OutOfTokens,
    QuotaExceeded,
    TooManyRequests,
)
from geminichat.operations import send_prompt
from geminichat.tables import chatrooms, usage
from geminichat.upstash import prompt_limits, room_list_cache


@endpoint(errors=[KeyInUse, KeyReused, NotFound, OutOfTokens, QuotaExceeded, TooManyRequests])
def handler(request: Request) -> Response[Accepted]:
    """Answer 202: the prompt will end answered or failed."""
    prompt = request.body(NewPrompt)
    room_id = ids.known("r", request.path["id"])
    key = request.idempotency_key()
    if key and (stored := send_prompt.replayed(request.user_id, room_id, prompt, key, request.now)):
        return _accepted(room_id, stored, {"idempotency-replayed": "true"})

    change = room_list_cache.active(room_id, request.now)
    with prompt_limits.admission(request.user_id, request.now, usage.allowance, change) as admitted:
        turn = chatrooms.take_turn(request.user_id, room_id, request.now)
        message, allowance = send_prompt.add_prompt(turn, prompt, admitted, key)

    return _accepted(room_id, message, allowance.headers())


def _accepted(room_id: str, message: Message, headers: dict[str, str]) -> Response[Accepted]:
    """Queue the prompt, as often as it is asked for while nobody works on it."""
    job = prompt_queue.Job(chatroom_id=room_id, seq=ids.message_seq(room_id, message.id))
    if message.status == Status.QUEUED:
        prompt_queue.send(job)
    return accepted(
        Accepted.of(message, job.id),
        "Prompt accepted; the reply is on its way.",
        headers={"location": f"/chatroom/{room_id}/message/{message.id}", **headers},
    )
