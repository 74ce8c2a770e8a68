"""Every function accepts its sample event."""

import secrets
import time
from collections.abc import Mapping

import pytest

from infra.local.cloud import sample_events
from infra.local.conversation import PASSWORD
from tests.support import document
from tests.support.lambdas import Api, invoke, reply_of
from tests.support.template import FUNCTIONS, routes_of

REFUSED: Mapping[str, tuple[int, str]] = {
    "AuthVerifyOtp": (400, "invalid-code"),
    "AuthResetPassword": (400, "invalid-code"),
    "UserAddIdentity": (400, "invalid-code"),
    "UserGetExport": (404, "not-found"),
    "ChatroomRetryMessage": (409, "not-failed"),
    "ChatroomUndo": (409, "nothing-to-undo"),
    "ChatroomFork": (409, "still-generating"),
    "SubscriptionCheckout": (403, "identity-not-proven"),
    "SubscriptionPortal": (409, "no-customer"),
    "SubscriptionCancel": (409, "no-subscription"),
    "SubscriptionResume": (409, "no-subscription"),
    "WebhookStripe": (400, "invalid-signature"),
}
"""The answers of functions that refuse their sample event, although it is valid."""


@pytest.fixture
def person(api: Api) -> Mapping[str, str]:
    """The values for the placeholders of the sample events: a new user with a room and a prompt."""
    email, new_email = (f"{secrets.token_hex(6)}@example.com" for _ in range(2))
    account = api.post("/auth/signup", {"email": email, "password": PASSWORD}).data
    token = account["token"]
    room = api.post("/chatroom", {"title": "Sample"}, token=token).data["id"]
    sent = api.post(f"/chatroom/{room}/message", {"content": "Hello"}, token=token).data
    return {
        "newEmail": new_email,
        "email": email,
        "userId": account["user"]["id"],
        "token": token,
        "refreshToken": account["refreshToken"],
        "chatroomId": room,
        "messageId": sent["messageId"],
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_sample_event_is_answered_as_documented(function: str, person: Mapping[str, str]) -> None:
    event = sample_events.fill_in(sample_events.text_of(function), person.__getitem__, time.time())
    answer = invoke(function, event)
    if not routes_of(function):
        assert not answer.get("failed")
        assert not answer.get("batchItemFailures")
        return
    reply = reply_of(answer)
    verb, path = event["routeKey"].split(" ")[0], event["rawPath"]
    document.check(verb, path, reply.status, reply.headers, reply.text)
    if reply.status < 300:
        assert function not in REFUSED
        return
    code = reply.json["type"].rpartition(":")[2]
    assert (reply.status, code) == REFUSED.get(function), reply.text
