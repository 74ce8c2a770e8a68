"""POST /chatroom/{id}/message/{messageId}/retry: have a failed prompt answered after all."""

import secrets

from geminichat.api import Request, Response, accepted, endpoint
from geminichat.clients import prompt_queue
from geminichat.domain import ids
from geminichat.domain.messages import Accepted
from geminichat.errors import NotFailed, NotFound, OutOfTokens, QuotaExceeded, TooManyRequests
from geminichat.operations import send_prompt
from geminichat.tables import usage
from geminichat.upstash import prompt_limits, room_list_cache


@endpoint(errors=[NotFailed, NotFound, OutOfTokens, QuotaExceeded, TooManyRequests])
def handler(request: Request) -> Response[Accepted]:
    """Answer 202: the prompt is queued again and counted like a new one."""
    room_id = ids.known("r", request.path["id"])
    generation = secrets.token_hex(4)
    change = room_list_cache.changed(room_id, request.now)
    with prompt_limits.admission(request.user_id, request.now, usage.allowance, change) as admitted:
        message, allowance = send_prompt.retry(
            request.user_id, room_id, request.path["messageId"], admitted, generation=generation
        )

    seq = ids.message_seq(room_id, message.id)
    job_id = prompt_queue.send(
        prompt_queue.Job(chatroom_id=room_id, seq=seq, generation=generation)
    )
    return accepted(
        Accepted.of(message, job_id),
        "Prompt accepted again; the reply is on its way.",
        headers={
            "location": f"/chatroom/{room_id}/message/{message.id}",
            **allowance.headers(),
        },
    )
