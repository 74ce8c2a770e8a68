"""A first conversation over HTTP, shown step by step, and shell commands that continue it."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from infra.command import CommandError
from infra.local.client import Answer, Api, ApiError, Unreachable

PROMPT = "What is a message queue good for?"
PATIENCE = 90.0
"""Seconds to wait for the reply; Gemini itself may take a while."""
PASSWORD = "correct horse battery staple"  # noqa: S105 (a throwaway account's)


@dataclass(frozen=True)
class Conversation:
    """The account and the room of a conversation."""

    email: str
    room: str


def hold(url: str, show: Callable[[str], None]) -> Conversation:
    """Sign up, open a room, send a prompt, poll, and show each step. Raises CommandError."""

    def step(method: str, path: str, answer: Answer, result: str) -> None:
        short = path if len(path) <= PATH_WIDTH else path[: PATH_WIDTH - 1] + "…"
        show(f"  {method:4} {short:{PATH_WIDTH}}  {answer.status}  {result}")

    api = Api(url)
    email = f"ada-{secrets.token_hex(3)}@example.com"
    try:
        user = api.sign_up(email, PASSWORD)
        step("POST", "/auth/signup", user, f"signed up as {email}")
        room = api.open_room("Queues")
        room_id = room.data["id"]
        step("POST", "/chatroom", room, "opened the room Queues")
        sent = api.send(room_id, PROMPT)
        step("POST", "/chatroom/{id}/message", sent, f"sent: {PROMPT}")
        answer = api.wait(room_id, sent.data["messageId"], PATIENCE)
        reply = answer.data.get("reply")
        result = f"reply: {reply['content']}" if reply else f"failed: {answer.data.get('error')}"
        step("GET", "/chatroom/{id}/message/{messageId}", answer, result)
    except ApiError as error:
        raise CommandError(f"The first conversation failed: {error.status}, {error}") from error
    except (TimeoutError, Unreachable) as error:
        raise CommandError(f"The first conversation failed: {error}") from error
    return Conversation(email, room_id)


PATH_WIDTH = len("/chatroom/{id}/message/{messageId}")


def next_commands(url: str, conversation: Conversation) -> str:
    """Return shell commands that continue the conversation."""
    body = f'{{"email":"{conversation.email}","password":"{PASSWORD}"}}'
    return f"""\
API={url} ROOM={conversation.room}
# log in
TOKEN=$(curl -s $API/auth/login -H 'content-type: application/json' \\
  -d '{body}' \\
  | sed 's/.*"token": *"\\([^"]*\\)".*/\\1/')
# send a prompt
curl -s -w '\\n' $API/chatroom/$ROOM/message -H "authorization: Bearer $TOKEN" \\
  -H 'content-type: application/json' -d '{{"content":"And what is a dead-letter queue?"}}'
# read the room; the reply arrives a moment after the prompt
sleep 2; curl -s -w '\\n' $API/chatroom/$ROOM -H "authorization: Bearer $TOKEN\""""
