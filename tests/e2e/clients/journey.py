"""A user's journey with the client that openapi-python-client generates from the API's document.

The argument is the API's URL. Prints the statuses and problems of the journey as JSON.
"""

import json
import secrets
import sys
import time

from geminichat_client import AuthenticatedClient, Client
from geminichat_client.api.accounts import auth_signup
from geminichat_client.api.chatrooms import (
    chatroom_create,
    chatroom_get_message,
    chatroom_send_message,
)
from geminichat_client.models import (
    AuthSignupResponse201,
    AuthSignupResponse409,
    ChatroomCreateResponse201,
    ChatroomGetMessageResponse200,
    ChatroomSendMessageResponse202,
    ChatroomSendMessageResponse422,
    ChatroomSendMessageResponse429,
    NewAccountByEmail,
    NewPrompt,
    NewRoom,
)

PATIENCE = 60.0
"""Seconds for a reply to arrive."""


def main(url: str) -> dict[str, object]:
    """Sign up, get a reply and provoke three problems; return the results."""
    account = NewAccountByEmail(
        email=f"python-{secrets.token_hex(8)}@example.com", password=secrets.token_urlsafe()
    )
    signed_up = auth_signup.sync(client=Client(url, timeout=40), body=account)
    assert isinstance(signed_up, AuthSignupResponse201), signed_up
    client = AuthenticatedClient(url, token=str(signed_up.data.token), timeout=40)

    opened = chatroom_create.sync(client=client, body=NewRoom(title="Clients"))
    assert isinstance(opened, ChatroomCreateResponse201), opened
    room = opened.data.id

    def send(content: str, key: str) -> object:
        prompt = NewPrompt(content=content)
        return chatroom_send_message.sync(room, client=client, body=prompt, idempotency_key=key)

    def ask(content: str, key: str) -> object:
        """Send a prompt and wait for its reply. Only a few prompts may be in flight."""
        sent = send(content, key)
        assert isinstance(sent, ChatroomSendMessageResponse202), sent
        deadline = time.monotonic() + PATIENCE
        while True:
            found = chatroom_get_message.sync(room, sent.data.message_id, client=client)
            assert isinstance(found, ChatroomGetMessageResponse200), found
            if found.data.status == "answered" or time.monotonic() > deadline:
                return found.data.status
            time.sleep(0.3)

    status = ask("What is a queue good for?", "first")
    reused = send("Something else?", "first")
    assert isinstance(reused, ChatroomSendMessageResponse422), reused
    for number in range(4):
        ask("And then?", f"more-{number}")
    exceeded = send("And then?", "last")
    assert isinstance(exceeded, ChatroomSendMessageResponse429), exceeded
    taken = auth_signup.sync(client=Client(url, timeout=40), body=account)
    assert isinstance(taken, AuthSignupResponse409), taken

    return {
        "status": status,
        "problems": [
            {"status": problem.status, "type": problem.type_}
            for problem in (reused, exceeded, taken)
        ],
        "resetsAt": exceeded.to_dict()["resetsAt"],
    }


if __name__ == "__main__":
    json.dump(main(sys.argv[1]), sys.stdout)
