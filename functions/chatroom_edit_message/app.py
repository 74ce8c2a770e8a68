"""PATCH /chatroom/{id}/message/{messageId}: send a prompt again with another text."""

from geminichat.api import Request, Response, accepted, endpoint
from geminichat.domain import ids
from geminichat.domain.messages import AcceptedPrompt, EditedPrompt
from geminichat.domain.quota import REFUSALS
from geminichat.errors import ChangedMeanwhile, KeyInUse, KeyReused, NotFound, TooManyEdits
from geminichat.operations import send_prompt


@endpoint(errors=[ChangedMeanwhile, KeyInUse, KeyReused, NotFound, TooManyEdits, *REFUSALS])
def handler(request: Request) -> Response[AcceptedPrompt]:
    """Answer 202: a new turn replaces the prompt's turn and all turns after it.

    The replaced turns are hidden, not deleted: `POST /chatroom/{id}/undo` shows them again. A
    hidden prompt without a reply is stopped, and refunded if it was still queued. The new prompt
    counts like any other.
    """
    room_id = ids.parse_room(request.path["id"])
    seq = ids.message_seq(room_id, request.path["messageId"])
    edited = request.body(EditedPrompt)

    sent = send_prompt.replace_turns(
        request.caller,
        room_id,
        seq,
        content=edited.content,
        idempotency_key=request.idempotency_key(),
        now=request.now,
    )

    return accepted(
        sent.prompt, "The edited prompt was accepted; the reply will follow.", headers=sent.headers
    )
