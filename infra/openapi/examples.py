"""An example or two of every body, made of the types themselves, so that they can't be wrong."""

from typing import Any

import msgspec
from msgspec import UNSET

from geminichat.domain import accounts, billing, codes, health, messages, rooms, tokens
from geminichat.domain.messages import BLOCKED, Status, TokenUsage
from geminichat.domain.plans import Plan
from geminichat.domain.quota import Usage

REQUEST_ID = "JKJaXmPLvHcESHA="

EMAIL = "ada@example.com"
PASSWORD = "correct horse battery staple"  # noqa: S105 (an example)
MOBILE = "+14155550100"
USER_ID = "u_mfzwizltorqxg5dfon2gs3thom"
ROOM_ID = "r_mfzwizltorqxg5dfon2gs3thom"
MESSAGE_ID = "m_mfzwizltorqxg5dfon2gs3thom_1"
REPLY_ID = "m_mfzwizltorqxg5dfon2gs3thom_2"
NOON = "2026-11-23T12:00:00.000Z"
LATER = "2026-11-23T12:00:03.250Z"
MIDNIGHT = "2026-11-24T00:00:00.000Z"
CURSOR = "k1.7c2Hn0m1S5v0bq0l3y8n5DQ"

TOKENS = tokens.Tokens(
    token="eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.e30.c2lnbmF0dXJl",  # noqa: S106
    expires_in=900,
    refresh_token=f"{USER_ID}.s_mfzwizltorqxg5dfon2gs3thom.{'A' * 43}.{'B' * 43}",
    refresh_expires_in=2_592_000,
)
ACCOUNT = accounts.Account(
    id=USER_ID,
    email=EMAIL,
    email_verified=True,
    mobile=None,
    mobile_verified=False,
    plan=Plan.BASIC,
    usage=Usage(limit=5, used=2, remaining=3, resets_at=MIDNIGHT),
    created_at=NOON,
)
ROOM = rooms.Room(
    id=ROOM_ID,
    title="Queues",
    system_instruction="Answer in one sentence.",
    model=rooms.DEFAULT_MODEL,
    created_at=NOON,
    updated_at=LATER,
)
PROMPT = messages.Message(
    id=MESSAGE_ID,
    sender="user",
    content="What is a message queue good for?",
    created_at=NOON,
    status=Status.QUEUED,
)
REPLY = messages.Message(
    id=REPLY_ID,
    sender="ai",
    content="It lets a sender go on before a receiver is done.",
    created_at=LATER,
    reply_to=MESSAGE_ID,
    model=rooms.DEFAULT_MODEL,
    usage=TokenUsage(input_tokens=15, output_tokens=11),
)
ANSWERED = msgspec.structs.replace(PROMPT, status=Status.ANSWERED, reply=REPLY)
CONVERSATION = [msgspec.structs.replace(PROMPT, status=Status.ANSWERED), REPLY]

EXAMPLES: list[tuple[str, msgspec.Struct]] = [
    ("email", accounts.NewAccount(email=EMAIL, password=PASSWORD)),
    ("mobile", accounts.NewAccount(mobile=MOBILE)),
    ("withTokens", accounts.SignedUp.of(ACCOUNT, TOKENS, UNSET)),
    ("email", accounts.Credentials(email=EMAIL, password=PASSWORD)),
    ("mobile", codes.WantedCode(mobile=MOBILE)),
    ("email", codes.WantedCode(email=EMAIL)),
    ("sent", codes.CodeSent()),
    ("mobile", accounts.GivenCode(mobile=MOBILE, otp="314159")),
    ("signedIn", accounts.SignedIn.of(ACCOUNT, TOKENS)),
    ("email", accounts.NewPassword(email=EMAIL, otp="314159", new_password=PASSWORD)),
    ("changed", accounts.PasswordChange(current_password="old " + PASSWORD, new_password=PASSWORD)),
    ("first", accounts.PasswordChange(new_password=PASSWORD)),
    (
        "mobile",
        accounts.NewIdentity(mobile=MOBILE, otp="314159", current_password=PASSWORD),
    ),
    ("refresh", accounts.Renewal(refresh_token=TOKENS.refresh_token)),
    ("here", accounts.Logout()),
    ("everywhere", accounts.Logout(everywhere=True)),
    ("tokens", TOKENS),
    ("account", ACCOUNT),
    ("room", rooms.NewRoom(title="Queues", system_instruction="Answer in one sentence.")),
    ("title", rooms.RoomChange(title="Queues and logs")),
    ("room", ROOM),
    ("page", rooms.RoomPage(chatrooms=[ROOM], next_cursor=CURSOR)),
    ("room", rooms.RoomWithMessages.of(ROOM, CONVERSATION, None)),
    ("prompt", messages.NewPrompt(content="What is a message queue good for?")),
    ("accepted", messages.Accepted.of(PROMPT, MESSAGE_ID)),
    ("page", messages.MessagePage(messages=CONVERSATION, next_cursor=None)),
    ("queued", PROMPT),
    ("answered", ANSWERED),
    ("failed", msgspec.structs.replace(PROMPT, status=Status.FAILED, error=BLOCKED)),
    ("reply", REPLY),
    (
        "checkout",
        billing.CheckoutPage(
            url="https://checkout.stripe.com/c/pay/cs_test_a1b2c3",
            session_id="cs_test_a1b2c3",
            expires_at="2026-11-24T12:00:00.000Z",
        ),
    ),
    ("portal", billing.PortalPage(url="https://billing.stripe.com/p/session/test_a1b2c3")),
    (
        "basic",
        billing.SubscriptionStatus(
            plan=Plan.BASIC,
            status=billing.NONE,
            current_period_end=None,
            cancel_at_period_end=False,
            usage=ACCOUNT.usage,
        ),
    ),
    (
        "pro",
        billing.SubscriptionStatus(
            plan=Plan.PRO,
            status="active",
            current_period_end="2026-12-23T12:00:00.000Z",
            cancel_at_period_end=False,
            usage=Usage(limit=None, used=42, remaining=None, resets_at=MIDNIGHT),
        ),
    ),
    ("plain", health.Health(status="ok", version="0.1.0")),
    (
        "deep",
        health.Health(
            status="ok",
            version="0.1.0",
            dependencies={"secrets": "ok", "tables": "ok", "queue": "ok", "redis": "ok"},
        ),
    ),
]


def of(kind: type) -> dict[str, Any]:
    """Return the examples of a struct as the wire has them, by name. Raises LookupError."""
    found = {name: value for name, value in EXAMPLES if type(value) is kind}
    if not found:
        raise LookupError(f"infra/openapi/examples.py has no example of {kind.__name__}")
    return {name: _without_nulls(value) for name, value in found.items()}


def _without_nulls(value: msgspec.Struct) -> Any:
    """Return the struct as JSON; a body leaves out what it does not mention."""
    shown: dict[str, Any] = msgspec.to_builtins(value)
    if type(value).__struct_config__.forbid_unknown_fields:
        return {name: item for name, item in shown.items() if item is not None}
    return shown
