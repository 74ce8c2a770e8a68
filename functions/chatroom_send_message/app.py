"""POST /chatroom/{id}/message: store a prompt and queue it for Gemini."""

from geminichat import counters, prompts
from geminichat.api import Request, Response, accepted, endpoint
from geminichat.domain.messages import Accepted, NewPrompt
from geminichat.tables import chatrooms, messages, usage


@endpoint
def handler(request: Request) -> Response:
    """Answer 202: the prompt will end answered or failed."""
    prompt = request.body(NewPrompt)

    with counters.admission(request.user_id, request.now, usage.allowance) as allowance:
        turn = chatrooms.take_turn(request.user_id, request.path["id"], request.now)
        message, allowance = messages.add_prompt(turn, prompt, allowance)

    job_id = prompts.send(prompts.Job(chatroom_id=turn.chatroom_id, seq=turn.seq))
    return accepted(
        Accepted.of(message, job_id),
        "Prompt accepted; the reply is on its way.",
        headers={
            "location": f"/chatroom/{turn.chatroom_id}/message/{message.id}",
            **allowance.headers(),
        },
    )
