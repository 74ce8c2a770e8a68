"""POST /chatroom/{id}/message/{messageId}/regenerate: ask for another reply to a prompt."""

from geminichat.api import Request, Response, accepted, endpoint
from geminichat.domain import ids
from geminichat.domain.messages import AcceptedPrompt
from geminichat.domain.quota import REFUSALS
from geminichat.domain.rooms import Regeneration
from geminichat.errors import (
    ChangedMeanwhile,
    KeyInUse,
    KeyReused,
    ModelNotIncluded,
    NotFound,
    TooManyEdits,
)
from geminichat.operations import choose_model, send_prompt


@endpoint(
    errors=[
        ChangedMeanwhile,
        KeyInUse,
        KeyReused,
        ModelNotIncluded,
        NotFound,
        TooManyEdits,
        *REFUSALS,
    ]
)
def handler(request: Request) -> Response[AcceptedPrompt]:
    """Answer 202: a new turn replaces the message's turn and all turns after it.

    The message may be a prompt or its reply. The replaced turns are hidden, not deleted:
    `POST /chatroom/{id}/undo` shows them again. A hidden prompt without a reply is stopped, and
    refunded if it was still queued. The new prompt counts like any other.
    """
    room_id = ids.parse_room(request.path["id"])
    seq = ids.prompt_seq(room_id, request.path["messageId"])
    regeneration = request.body(Regeneration, optional=True)
    choose_model.require(request.caller, regeneration.model, request.now)

    sent = send_prompt.replace_turns(
        request.caller,
        room_id,
        seq,
        model=regeneration.model,
        idempotency_key=request.idempotency_key(),
        now=request.now,
    )

    return accepted(
        sent.prompt,
        "The prompt was accepted again; another reply will follow.",
        headers=sent.headers,
    )
