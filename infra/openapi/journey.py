"""One user's way through the API, as the Postman collection walks it.

Which requests, in which order, what is expected of each answer, what is carried on to the next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request. What it leaves open is as in the document's first example."""

    says: str
    operation: str
    """Its `operationId`."""
    status: int
    code: str | None = None
    """The error's code, where it is one."""
    example: str | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    token: str = "{{token}}"  # noqa: S105 (the name of a variable)
    before: tuple[str, ...] = ()
    """Lines of JavaScript that run before it."""
    shows: tuple[str, ...] = ()
    """Headers that the answer must have."""
    saves: Mapping[str, str] = field(default_factory=dict)
    """What goes into which variable: expressions over `answer`, `header(name)`, `kept(name)`."""
    expects: Mapping[str, str] = field(default_factory=dict)
    """What must hold, in words and as such an expression."""
    until: str | None = None
    """It is asked again until this holds, at most a minute."""


TOKENS = {"token": "answer.data.token", "refreshToken": "answer.data.refreshToken"}
LIMITS = ("RateLimit", "RateLimit-Policy")

# Addresses and numbers that belong to nobody: example.com (RFC 2606), and +1 ... 555 01xx.
A_NEW_PERSON = (
    "const digits = (count) => String(Math.random()).slice(2, 2 + count).padEnd(count, '0');",
    "pm.collectionVariables.set('email', `ada-${Date.now()}-${digits(6)}@example.com`);",
    "const area = 200 + (Date.now() % 800);",
    "pm.collectionVariables.set('mobile', `+1${area}55501${digits(2)}`);",
    "pm.collectionVariables.set('password', `correct horse ${digits(12)}`);",
    "pm.collectionVariables.set('idempotencyKey', `first-${Date.now()}-${digits(6)}`);",
)

JOURNEY = [
    Step(
        says="The API is up",
        operation="healthCheck",
        status=200,
        expects={"it is well": "answer.data.status === 'ok'"},
    ),
    Step(
        says="Sign up with an email and a password",
        operation="authSignup",
        status=201,
        example="email",
        before=A_NEW_PERSON,
        saves=TOKENS,
        expects={
            "the account is on the basic plan": "answer.data.user.plan === 'basic'",
            "no code was typed yet": "answer.data.user.emailVerified === false",
        },
    ),
    Step(
        says="Log in with the wrong password",
        operation="authLogin",
        status=401,
        code="invalid-credentials",
        body={"email": "{{email}}", "password": "not {{password}}"},
        shows=("WWW-Authenticate", *LIMITS),
    ),
    Step(says="Log in", operation="authLogin", status=200, saves=TOKENS, shows=LIMITS),
    Step(
        says="Ask for a one-time code",
        operation="authSendOtp",
        status=200,
        example="mobile",
        shows=LIMITS,
        saves={"otp": "answer.data.otp || kept('otp')"},
        expects={"it holds for ten minutes": "answer.data.expiresIn === 600"},
    ),
    Step(
        says="Ask again at once",
        operation="authSendOtp",
        status=429,
        code="too-many-requests",
        example="mobile",
        shows=("Retry-After", *LIMITS),
    ),
    Step(
        says="Try a wrong code",
        operation="authVerifyOtp",
        status=400,
        code="invalid-code",
        body={"mobile": "{{mobile}}", "otp": "{{wrongOtp}}"},
        before=(
            "const otp = pm.collectionVariables.get('otp');",
            "pm.variables.set('wrongOtp', otp === '000000' ? '000001' : '000000');",
        ),
    ),
    Step(
        says="Verify the code: a new number becomes a user",
        operation="authVerifyOtp",
        status=200,
        expects={
            "the number is theirs": "answer.data.user.mobileVerified === true",
            "and they are somebody else": "answer.data.user.email === null",
        },
    ),
    Step(
        says="Who am I",
        operation="authMe",
        status=200,
        expects={
            "it is who logged in": "answer.data.email === kept('email')",
            "no prompt is used": "answer.data.usage.used === 0",
        },
    ),
    Step(
        says="Ask with a token that is none",
        operation="authMe",
        status=401,
        code="unauthorized",
        token="not-a-token",  # noqa: S106
        shows=("WWW-Authenticate",),
    ),
    Step(
        says="Open a room",
        operation="chatroomCreate",
        status=201,
        saves={"roomId": "answer.data.id"},
    ),
    Step(
        says="List the rooms",
        operation="chatroomList",
        status=200,
        query={"limit": "1"},
        shows=("x-cache",),
        expects={"the room is in it": "answer.data.chatrooms[0].id === kept('roomId')"},
    ),
    Step(
        says="Send nothing",
        operation="chatroomSendMessage",
        status=400,
        code="bad-request",
        body="",
    ),
    Step(
        says="Send a prompt",
        operation="chatroomSendMessage",
        status=202,
        headers={"Idempotency-Key": "{{idempotencyKey}}"},
        shows=("Location", *LIMITS),
        saves={"messageId": "answer.data.messageId"},
        expects={"it is queued": "answer.data.status === 'queued'"},
    ),
    Step(
        says="Send it again, with the same Idempotency-Key",
        operation="chatroomSendMessage",
        status=202,
        headers={"Idempotency-Key": "{{idempotencyKey}}"},
        shows=("Idempotency-Replayed",),
        expects={"it is the same prompt": "answer.data.messageId === kept('messageId')"},
    ),
    Step(
        says="Send another prompt with that Idempotency-Key",
        operation="chatroomSendMessage",
        status=422,
        code="key-reused",
        headers={"Idempotency-Key": "{{idempotencyKey}}"},
        body={"content": "Something else?"},
    ),
    Step(
        says="Poll until it is answered",
        operation="chatroomGetMessage",
        status=200,
        until="['answered', 'failed'].includes(answer.data.status)",
        expects={
            "it is answered": "answer.data.status === 'answered'",
            "the reply names its prompt": "answer.data.reply.replyTo === answer.data.id",
        },
    ),
    Step(
        says="Read the room's messages",
        operation="chatroomListMessages",
        status=200,
        shows=("ETag",),
        saves={"etag": "header('ETag')"},
        expects={
            "question, answer": "answer.data.messages.map((m) => m.sender).join() === 'user,ai'"
        },
    ),
    Step(
        says="Nothing changed since",
        operation="chatroomListMessages",
        status=304,
        headers={"If-None-Match": "{{etag}}"},
        shows=("ETag",),
    ),
    Step(
        says="Retry a prompt that did not fail",
        operation="chatroomRetryMessage",
        status=409,
        code="not-failed",
    ),
    Step(
        says="Rename the room",
        operation="chatroomUpdate",
        status=200,
        expects={"it has its new name": "answer.data.title === 'Queues and logs'"},
    ),
    Step(
        says="Open the room",
        operation="chatroomGet",
        status=200,
        expects={"both messages are in it": "answer.data.messages.length === 2"},
    ),
    Step(
        says="Use the day's five prompts up",
        operation="chatroomSendMessage",
        status=202,
        body={"content": "And what else?"},
        shows=LIMITS,
        until="/\"day\";r=0/.test(header('RateLimit'))",
    ),
    Step(
        says="Send a sixth",
        operation="chatroomSendMessage",
        status=429,
        code="quota-exceeded",
        shows=("Retry-After", *LIMITS),
        expects={"it says when there are more": "answer.resetsAt > new Date().toISOString()"},
    ),
    Step(
        says="Cancel a plan that nobody bought",
        operation="subscriptionCancel",
        status=409,
        code="no-subscription",
    ),
    Step(
        says="Subscribe to pro",
        operation="subscriptionCheckout",
        status=200,
        saves={"checkout": "answer.url"},
        expects={
            "it is a page to pay on": "/^https?:/.test(answer.url)",
            "named twice, as clients of old look for it": "answer.url === answer.data.url",
        },
    ),
    Step(
        says="Subscribe again: it is the same page",
        operation="subscriptionCheckout",
        status=200,
        expects={"no second one is made": "answer.url === kept('checkout')"},
    ),
    Step(
        says="The plan before it is paid",
        operation="subscriptionStatus",
        status=200,
        expects={
            "it is basic": "answer.data.plan === 'basic'",
            "the day is used up": "answer.data.usage.remaining === 0",
        },
    ),
    Step(
        says="Renew the tokens",
        operation="authRefresh",
        status=200,
        saves=TOKENS,
    ),
    Step(says="Delete the room", operation="chatroomDelete", status=204),
    Step(says="It is gone", operation="chatroomGet", status=404, code="not-found"),
    Step(says="Log out", operation="authLogout", status=200),
    Step(says="The session has ended", operation="authMe", status=401, code="unauthorized"),
    Step(says="And cannot be renewed", operation="authRefresh", status=401, code="unauthorized"),
]
