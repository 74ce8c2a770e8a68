"""One real conversation, walked over HTTP and shown, and how to go on by hand."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from infra.local.client import Answer, Api, Refused, Unreachable
from infra.paths import LocalError

PROMPT = "What is a message queue good for?"
PATIENCE = 90.0
"""Seconds until an answer is given up; Gemini itself may take a while."""
PASSWORD = "correct horse battery staple"  # noqa: S105 (a throwaway account's)


@dataclass(frozen=True)
class Walked:
    """The account and the room that the conversation left behind."""

    email: str
    room: str


def walk(url: str, show: Callable[[str], None]) -> Walked:
    """Sign up, open a room, ask, poll, and show each step. Raises LocalError."""

    def step(method: str, path: str, answer: Answer, what: str) -> None:
        short = path if len(path) <= PATH_WIDTH else path[: PATH_WIDTH - 1] + "…"
        show(f"  {method:4} {short:{PATH_WIDTH}}  {answer.status}  {what}")

    api = Api(url)
    email = f"ada-{secrets.token_hex(3)}@example.com"
    try:
        user = api.sign_up(email, PASSWORD)
        step("POST", "/auth/signup", user, f"{email} signed up")
        room = api.open_room("Queues")
        room_id = room.data["id"]
        step("POST", "/chatroom", room, "a room called Queues")
        sent = api.send(room_id, PROMPT)
        step("POST", "/chatroom/{id}/message", sent, f"asked: {PROMPT}")
        answer = api.wait(room_id, sent.data["messageId"], PATIENCE)
        reply = answer.data.get("reply")
        said = f"answered: {reply['content']}" if reply else f"failed: {answer.data.get('error')}"
        step("GET", "/chatroom/{id}/message/{messageId}", answer, said)
    except Refused as error:
        raise LocalError(f"The first conversation broke off: {error.status}, {error}") from error
    except (TimeoutError, Unreachable) as error:
        raise LocalError(f"The first conversation broke off: {error}") from error
    return Walked(email, room_id)


PATH_WIDTH = len("/chatroom/{id}/message/{messageId}")


def by_hand(url: str, walked: Walked) -> str:
    """Return lines for a shell that go on with the conversation."""
    body = f'{{"email":"{walked.email}","password":"{PASSWORD}"}}'
    return f"""\
API={url} ROOM={walked.room}
# log in
TOKEN=$(curl -s $API/auth/login -H 'content-type: application/json' \\
  -d '{body}' \\
  | sed 's/.*"token": *"\\([^"]*\\)".*/\\1/')
# ask
curl -s -w '\\n' $API/chatroom/$ROOM/message -H "authorization: Bearer $TOKEN" \\
  -H 'content-type: application/json' -d '{{"content":"And what is a dead-letter queue?"}}'
# read the room; the answer comes a moment after the question
sleep 2; curl -s -w '\\n' $API/chatroom/$ROOM -H "authorization: Bearer $TOKEN\""""
