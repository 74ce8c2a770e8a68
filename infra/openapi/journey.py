"""One user's journey through the API, for the Postman collection.

Each step is a request with the expected answer and the values to save for later requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Step:
    """One request. A step without `example` and `body` sends the document's first example."""

    says: str
    operation: str
    """The operation's `operationId`."""
    status: int
    code: str | None = None
    """The error's code, or None for a success."""
    example: str | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    token: str = "{{token}}"  # noqa: S105 (the name of a variable)
    before: tuple[str, ...] = ()
    """Lines of JavaScript to run before the request."""
    shows: tuple[str, ...] = ()
    """Headers that the answer must have."""
    saves: Mapping[str, str] = field(default_factory=dict)
    """The variables to set: name and JavaScript, which may use `answer`, `header`, `kept`."""
    expects: Mapping[str, str] = field(default_factory=dict)
    """The checks of the answer: name and a JavaScript expression that must be true."""
    until: str | None = None
    """The request is repeated until this expression is true, for at most a minute."""


TOKENS = {"token": "answer.data.token", "refreshToken": "answer.data.refreshToken"}
LIMITS = ("RateLimit", "RateLimit-Policy")

AREA_CODES = [201, 202, 206, 212, 213, 214, 303, 305, 310, 312, 404, 415, 503, 512, 602, 617]
"""Area codes of the United States; their numbers 555-01xx are reserved for fiction."""

# Reserved addresses and numbers: example.com (RFC 2606), and +1 ... 555 01xx.
A_NEW_PERSON = (
    "const digits = (count) => String(Math.random()).slice(2, 2 + count).padEnd(count, '0');",
    "pm.collectionVariables.set('email', `ada-${Date.now()}-${digits(6)}@example.com`);",
    f"const areas = {AREA_CODES};",
    "const area = areas[Date.now() % areas.length];",
    "pm.collectionVariables.set('mobile', `+1${area}55501${digits(2)}`);",
    "pm.collectionVariables.set('password', `correct horse ${digits(12)}`);",
    "pm.collectionVariables.set('idempotencyKey', `first-${Date.now()}-${digits(6)}`);",
)

JOURNEY = [
    Step(
        says="The API is up",
        operation="healthCheck",
        status=200,
        expects={"the status is ok": "answer.data.status === 'ok'"},
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
            "the email is not verified yet": "answer.data.user.emailVerified === false",
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
        says="Request a one-time code",
        operation="authSendOtp",
        status=200,
        example="mobile",
        shows=LIMITS,
        saves={
            "otp": "answer.data.otp || kept('otp')",
            "challenge": "answer.data.challenge",
        },
        expects={"the code is valid for ten minutes": "answer.data.expiresIn === 600"},
    ),
    Step(
        says="Request another code at once",
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
        says="Verify the code: a new number gets an account",
        operation="authVerifyOtp",
        status=200,
        expects={
            "the number is verified": "answer.data.user.mobileVerified === true",
            "the answer has a second user, without an email": "answer.data.user.email === null",
        },
    ),
    Step(
        says="Read the account",
        operation="authMe",
        status=200,
        expects={
            "the account has the email of the log-in": "answer.data.email === kept('email')",
            "no prompt was sent today": "answer.data.usage.used === 0",
        },
    ),
    Step(
        says="Send an invalid token",
        operation="authMe",
        status=401,
        code="unauthorized",
        token="not-a-token",  # noqa: S106
        shows=("WWW-Authenticate",),
    ),
    Step(
        says="Create a room",
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
        expects={"the list contains the room": "answer.data.chatrooms[0].id === kept('roomId')"},
    ),
    Step(
        says="Send an empty body",
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
        expects={"the prompt is queued": "answer.data.status === 'queued'"},
    ),
    Step(
        says="Send the prompt again with the same Idempotency-Key",
        operation="chatroomSendMessage",
        status=202,
        headers={"Idempotency-Key": "{{idempotencyKey}}"},
        shows=("Idempotency-Replayed",),
        expects={"the prompt has the same id": "answer.data.messageId === kept('messageId')"},
    ),
    Step(
        says="Send another prompt with the same Idempotency-Key",
        operation="chatroomSendMessage",
        status=422,
        code="key-reused",
        headers={"Idempotency-Key": "{{idempotencyKey}}"},
        body={"content": "Something else?"},
    ),
    Step(
        says="Poll until the prompt is answered",
        operation="chatroomGetMessage",
        status=200,
        until="['answered', 'failed'].includes(answer.data.status)",
        expects={
            "the prompt is answered": "answer.data.status === 'answered'",
            "the reply has the prompt's id": "answer.data.reply.replyTo === answer.data.id",
        },
    ),
    Step(
        says="Read the room's messages",
        operation="chatroomListMessages",
        status=200,
        shows=("ETag",),
        saves={"etag": "header('ETag')"},
        expects={
            "the prompt is first": "answer.data.messages.map((m) => m.sender).join() === 'user,ai'"
        },
    ),
    Step(
        says="Poll with the ETag: nothing changed",
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
        says="Ask for another reply",
        operation="chatroomRegenerateMessage",
        status=202,
        shows=("Location", *LIMITS),
        saves={"firstId": "kept('messageId')", "messageId": "answer.data.messageId"},
    ),
    Step(
        says="Poll until the new prompt is answered",
        operation="chatroomGetMessage",
        status=200,
        until="['answered', 'failed'].includes(answer.data.status)",
        expects={"the new prompt has another id": "answer.data.id !== kept('firstId')"},
    ),
    Step(
        says="Undo the regeneration: the room shows the first reply again",
        operation="chatroomUndo",
        status=200,
        saves={"messageId": "kept('firstId')"},
        expects={"nothing else can be undone": "answer.data.canUndo === false"},
    ),
    Step(
        says="Undo again: there is nothing to undo",
        operation="chatroomUndo",
        status=409,
        code="nothing-to-undo",
    ),
    Step(
        says="Fork the room",
        operation="chatroomFork",
        status=201,
        body={"upTo": "{{messageId}}"},
        shows=("Location",),
        expects={"the fork is another room": "answer.data.id !== kept('roomId')"},
    ),
    Step(
        says="Rename the room",
        operation="chatroomUpdate",
        status=200,
        expects={"the room has the new title": "answer.data.title === 'Queues and logs'"},
    ),
    Step(
        says="Read the room",
        operation="chatroomGet",
        status=200,
        expects={"the room has both messages": "answer.data.messages.length === 2"},
    ),
    Step(
        says="Edit the prompt",
        operation="chatroomEditMessage",
        status=202,
        shows=("Location", *LIMITS),
        expects={"the edited prompt is queued": "answer.data.status === 'queued'"},
    ),
    Step(
        says="Use up the daily quota of five prompts",
        operation="chatroomSendMessage",
        status=202,
        body={"content": "And what else?"},
        shows=LIMITS,
        until="/\"day\";r=0/.test(header('RateLimit'))",
    ),
    Step(
        says="Send a sixth prompt",
        operation="chatroomSendMessage",
        status=429,
        code="quota-exceeded",
        shows=("Retry-After", *LIMITS),
        expects={"the error has the reset time": "answer.resetsAt > new Date().toISOString()"},
    ),
    Step(
        says="Cancel without a subscription",
        operation="subscriptionCancel",
        status=409,
        code="no-subscription",
    ),
    Step(
        says="Subscribe before the email is verified",
        operation="subscriptionCheckout",
        status=403,
        code="identity-not-proven",
    ),
    Step(
        says="Request a code for the email",
        operation="authSendOtp",
        status=200,
        body={"email": "{{email}}"},
        saves={
            "otp": "answer.data.otp || kept('otp')",
            "challenge": "answer.data.challenge",
        },
    ),
    Step(
        says="Verify the email",
        operation="authVerifyOtp",
        status=200,
        body={"email": "{{email}}", "otp": "{{otp}}"},
        headers={"authorization": "Bearer {{token}}"},
        saves=TOKENS,
        expects={"the email is verified": "answer.data.user.emailVerified === true"},
    ),
    Step(
        says="Subscribe to pro",
        operation="subscriptionCheckout",
        status=200,
        saves={"checkout": "answer.url"},
        expects={
            "the answer has the URL of a page": "/^https?:/.test(answer.url)",
            "the envelope repeats the URL": "answer.url === answer.data.url",
        },
    ),
    Step(
        says="Subscribe again and get the same page",
        operation="subscriptionCheckout",
        status=200,
        expects={"the page is the same": "answer.url === kept('checkout')"},
    ),
    Step(
        says="Read the plan before the payment",
        operation="subscriptionStatus",
        status=200,
        expects={
            "the plan is basic": "answer.data.plan === 'basic'",
            "the quota is used up": "answer.data.usage.remaining === 0",
        },
    ),
    Step(
        says="Refresh the tokens",
        operation="authRefresh",
        status=200,
        saves=TOKENS,
    ),
    Step(says="Delete the room", operation="chatroomDelete", status=204),
    Step(says="Read the deleted room", operation="chatroomGet", status=404, code="not-found"),
    Step(
        says="Request an export of the account",
        operation="userExport",
        status=202,
        body={"currentPassword": "{{password}}"},
        shows=LIMITS,
        expects={"the export is being prepared": "answer.data.status === 'preparing'"},
    ),
    Step(
        says="Request another export on the same day",
        operation="userExport",
        status=429,
        code="too-many-requests",
        body={"currentPassword": "{{password}}"},
        shows=("Retry-After", *LIMITS),
    ),
    Step(
        says="Poll until the export is ready",
        operation="userGetExport",
        status=200,
        until="answer.data.status === 'ready'",
        expects={"the export has a URL": "/^https?:/.test(answer.data.url)"},
    ),
    Step(says="Log out", operation="authLogout", status=200),
    Step(
        says="Use the access token of the ended session",
        operation="authMe",
        status=401,
        code="unauthorized",
    ),
    Step(
        says="Use the refresh token of the ended session",
        operation="authRefresh",
        status=401,
        code="unauthorized",
    ),
]
