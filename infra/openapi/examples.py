"""Examples of every body and every error, as objects of the types that the API uses."""

from typing import Any

import msgspec
from msgspec import UNSET

from geminichat.api import parse_json
from geminichat.domain import (
    accounts,
    billing,
    codes,
    conversations,
    deletion,
    exports,
    health,
    messages,
    models,
    rooms,
    sessions,
    tickets,
    tokens,
    users,
)
from geminichat.domain.messages import BLOCKED, Finish, Status, TokenUsage
from geminichat.domain.models import Thinking
from geminichat.domain.plans import Plan
from geminichat.domain.quota import Usage
from geminichat.domain.reads import READS
from geminichat.errors import (
    AlreadySubscribed,
    AppError,
    BodyTooLarge,
    InvalidRequest,
    OutOfTokens,
    QuotaExceeded,
    SpendingLimit,
    StageLimit,
    TooManyAttempts,
    TooManyInFlight,
    TooManyRequests,
    TooManyRooms,
    WrongMode,
)
from infra.openapi.endpoints import Endpoint

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
    device_token=f"d_mfzwizltorqxg5dfon2gs3thom.{'c' * 64}",
)
CHALLENGE = "c_mfzwizltorqxg5dfon2gs3thom"


def _usage(limit: int | None, used: int, remaining: int | None) -> Usage:
    """Return the basic plan's usage after `used` prompts on one day."""
    return Usage(
        limit=limit,
        used=used,
        remaining=remaining,
        resets_at=MIDNIGHT,
        input_tokens=210 * used,
        output_tokens=480 * used,
        spent_usd=round(0.001263 * used, 6),
        spending_limit_usd=0.5 if limit else 5.0,
    )


ACCOUNT = users.Account(
    id=USER_ID,
    email=EMAIL,
    email_verified=True,
    mobile=None,
    mobile_verified=False,
    plan=Plan.BASIC,
    usage=_usage(limit=5, used=2, remaining=3),
    created_at=NOON,
)
UNUSED = _usage(limit=5, used=0, remaining=5)
NEW_ACCOUNT = msgspec.structs.replace(ACCOUNT, email_verified=False, usage=UNUSED)
BY_MOBILE = msgspec.structs.replace(NEW_ACCOUNT, email=None, mobile=MOBILE)
ROOM = rooms.Room(
    id=ROOM_ID,
    title="Queues",
    system_instruction="Answer in one sentence.",
    model=models.DEFAULT,
    thinking=None,
    can_undo=False,
    created_at=NOON,
    updated_at=LATER,
)
ROOM_SUMMARY = rooms.RoomSummary(
    id=ROOM.id,
    title=ROOM.title,
    model=ROOM.model,
    thinking=ROOM.thinking,
    created_at=ROOM.created_at,
    updated_at=ROOM.updated_at,
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
    content="A sender can continue before the receiver has finished.",
    created_at=LATER,
    reply_to=MESSAGE_ID,
    model="gemini-3.5-flash-lite",
    requested_model=models.DEFAULT,
    finish=Finish.COMPLETE,
    usage=TokenUsage(input_tokens=15, output_tokens=11),
)
ANSWERED = msgspec.structs.replace(PROMPT, status=Status.ANSWERED, reply=REPLY)
CONVERSATION = [msgspec.structs.replace(PROMPT, status=Status.ANSWERED), REPLY]

SUBSCRIBED = billing.SubscriptionStatus(
    plan=Plan.PRO,
    status="active",
    granted_until=None,
    current_period_end="2026-12-23T12:00:00.000Z",
    cancel_at_period_end=False,
    usage=_usage(limit=None, used=42, remaining=None),
)

EXPORT = exports.Export(
    status=exports.ExportStatus.PREPARING,
    requested_at=NOON,
    kept_until="2026-11-24T12:00:00.000Z",
)

EXAMPLES: list[tuple[str, msgspec.Struct]] = [
    ("email", accounts.NewAccount(email=EMAIL, password=PASSWORD)),
    ("mobile", accounts.NewAccount(mobile=MOBILE)),
    ("withTokens", accounts.SignedUp.of(NEW_ACCOUNT, TOKENS, None, UNSET)),
    ("byMobile", accounts.SignedUp.of(BY_MOBILE, None, CHALLENGE, UNSET)),
    ("email", accounts.Credentials(email=EMAIL, password=PASSWORD)),
    ("mobile", codes.CodeRequest(mobile=MOBILE)),
    ("confirm", codes.CodeRequest(email=EMAIL, purpose="confirm")),
    ("email", codes.ResetRequest(email=EMAIL)),
    ("sent", codes.CodeSent(challenge=CHALLENGE)),
    ("mobile", accounts.GivenCode(mobile=MOBILE, otp="314159", challenge=CHALLENGE)),
    (
        "loggedIn",
        accounts.LoggedIn.of(msgspec.structs.replace(BY_MOBILE, mobile_verified=True), TOKENS),
    ),
    ("email", accounts.NewPassword(email=EMAIL, otp="314159", new_password=PASSWORD)),
    ("changed", accounts.PasswordChange(current_password="old " + PASSWORD, new_password=PASSWORD)),
    ("first", accounts.PasswordChange(current_otp="314159", new_password=PASSWORD)),
    (
        "mobile",
        accounts.NewIdentity(mobile=MOBILE, otp="314159", current_password=PASSWORD),
    ),
    ("password", accounts.Departure(current_password=PASSWORD)),
    ("code", accounts.Departure(current_otp="314159")),
    (
        "scheduled",
        accounts.ScheduledPurge(purge_at="2026-12-07T12:00:00.000Z", kept=deletion.KEPT),
    ),
    ("password", accounts.ExportRequest(current_password=PASSWORD)),
    ("code", accounts.ExportRequest(current_otp="314159")),
    ("preparing", EXPORT),
    (
        "ready",
        msgspec.structs.replace(
            EXPORT,
            status=exports.ExportStatus.READY,
            size=48_213,
            url="https://geminichat-prod-exportsbucket-1a2b3c.s3.eu-west-1.amazonaws.com/u_mfzwizltorqxg5dfon2gs3thom/e_mfzwizltorqxg5dfon2gs3thom.zip?X-Amz-Expires=900&X-Amz-Signature=0a1b2c",
            url_expires_at="2026-11-23T12:20:00.000Z",
        ),
    ),
    ("refresh", sessions.RefreshRequest(refresh_token=TOKENS.refresh_token)),
    ("here", sessions.Logout()),
    ("everywhere", sessions.Logout(everywhere=True)),
    ("tokens", TOKENS),
    ("account", ACCOUNT),
    ("both", msgspec.structs.replace(ACCOUNT, mobile=MOBILE, mobile_verified=True)),
    ("room", rooms.NewRoom(title="Queues", system_instruction="Answer in one sentence.")),
    ("title", rooms.RoomChange(title="Queues and logs")),
    ("room", ROOM),
    ("page", rooms.RoomPage(chatrooms=[ROOM_SUMMARY], next_cursor=CURSOR)),
    ("room", conversations.RoomWithMessages.of(ROOM, CONVERSATION, None)),
    ("edited", messages.EditedPrompt(content="What is a message queue not good for?")),
    ("again", rooms.Regeneration()),
    ("best", rooms.Regeneration(model="best")),
    ("fork", rooms.Fork(up_to=REPLY_ID)),
    ("prompt", messages.NewPrompt(content="What is a message queue good for?")),
    ("accepted", messages.AcceptedPrompt.of(PROMPT, MESSAGE_ID)),
    ("stopped", messages.StopRequest(message_id=MESSAGE_ID, status=Status.GENERATING)),
    ("page", messages.MessagePage.of(CONVERSATION, None, None)),
    (
        "address",
        tickets.LiveAddress.of(
            "wss://abcdefghij.execute-api.eu-west-1.amazonaws.com/live", f"k1.{'d' * 64}"
        ),
    ),
    (
        "models",
        models.ModelList(
            models=[
                models.ListedModel(
                    id="gemini-3.8-flash",
                    name="Gemini 3.8 Flash",
                    aliases=["best"],
                    price=models.Price(input=1.5, output=7.5),
                    thinking=[Thinking.LOW, Thinking.MEDIUM, Thinking.HIGH],
                    max_output_tokens=8_192,
                    available=False,
                    retires=None,
                    replaced_by=None,
                )
            ],
            default=models.DEFAULT,
        ),
    ),
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
            granted_until=None,
            current_period_end=None,
            cancel_at_period_end=False,
            usage=ACCOUNT.usage,
        ),
    ),
    ("pro", SUBSCRIBED),
    ("ending", msgspec.structs.replace(SUBSCRIBED, cancel_at_period_end=True)),
    ("plain", health.Health(status="ok", version="0.1.0")),
    (
        "deep",
        health.Health(
            status="ok",
            version="0.1.0",
            dependencies={"secrets": "ok", "tables": "ok", "queue": "ok", "redis": "ok"},
        ),
    ),
    (
        "degraded",
        health.Health(
            status="degraded",
            version="0.1.0",
            dependencies={"secrets": "ok", "tables": "ok", "queue": "ok", "redis": "down"},
        ),
    ),
]


ONLY = {
    "POST /user/export": {"password", "code", "preparing"},
    "GET /auth/me": {"account"},
    "GET /user/me": {"account"},
    "POST /user/identity": {"both"},
    "POST /subscription/cancel": {"ending"},
    "POST /subscription/resume": {"pro"},
}
"""For routes with narrower answers: the names of the examples that apply to the route."""

UNSUCCESSFUL = {"degraded"}
"""Examples of answers that have the usual envelope and an error status."""

PROBLEMS: list[tuple[str | tuple[str, ...], AppError]] = [
    ("", AppError("Something went wrong on our side.")),
    ("", BodyTooLarge("A body may have at most 256 KiB.")),
    (
        "user_export",
        TooManyRequests("The data of an account can be exported once a day. Try again in 3600 s."),
    ),
    (
        ("auth_login", "auth_change_password", "user_"),
        TooManyRequests("Too many wrong passwords. Try again in 60 s, or log in with a code."),
    ),
    (
        ("auth_send_otp", "auth_forgot_password", "auth_signup"),
        TooManyRequests("A code was sent recently. Request another code in 30 s."),
    ),
    (
        ("auth_verify_otp", "auth_reset_password"),
        TooManyRequests("Too many code requests from your IP address. Try again in 60 s."),
    ),
    (
        ("chatroom_list", "chatroom_get"),
        InvalidRequest("The parameter 'limit' must be a number from 1 to 100."),
    ),
    (
        ("chatroom_list", "chatroom_get"),
        InvalidRequest(
            "The parameter 'cursor' is not valid for this list. Omit 'cursor' for the first page."
        ),
    ),
    (
        ("chatroom_create", "chatroom_fork"),
        TooManyRooms("You have 200 chatrooms, the maximum of your plan. Delete a chatroom first."),
    ),
    (
        ("chatroom_send", "chatroom_undo"),
        InvalidRequest("An Idempotency-Key must have 1 to 255 visible ASCII characters."),
    ),
    (
        "chatroom_fork",
        TooManyRequests(
            "At most 20 chatrooms can be forked per day. Fork this chatroom at"
            f" {MIDNIGHT} or later."
        ),
    ),
    (
        "chatroom_",
        QuotaExceeded(
            f"The basic plan's 5 prompts per day are used up. The quota resets at {MIDNIGHT}; the"
            " pro plan has no daily limit.",
            extensions={"resetsAt": MIDNIGHT},
        ),
    ),
    (
        "chatroom_",
        SpendingLimit(
            "This prompt could exceed your plan's $0.50 per day. Send a shorter prompt, or send"
            f" this prompt again at {MIDNIGHT}.",
            extensions={"resetsAt": MIDNIGHT},
        ),
    ),
    (
        "chatroom_",
        StageLimit(
            "This service has used up its budget for prompts today. Everything else works. The"
            f" budget resets at {MIDNIGHT}.",
            extensions={"resetsAt": MIDNIGHT},
        ),
    ),
    (
        "chatroom_",
        TooManyAttempts(
            f"At most 15 prompts and retries are accepted per day. The quota resets at {MIDNIGHT}.",
            extensions={"resetsAt": MIDNIGHT},
        ),
    ),
    (
        "chatroom_",
        TooManyInFlight(
            "3 of your prompts are being answered. Send this prompt again when one of them has"
            " finished.",
            extensions={"resetsAt": LATER},
        ),
    ),
    (
        "chatroom_",
        OutOfTokens(
            f"Today's 100,000 tokens are used up. The quota resets at {MIDNIGHT}.",
            extensions={"resetsAt": MIDNIGHT},
        ),
    ),
    (
        "chatroom_",
        TooManyRequests(
            f"At most 20 prompts are accepted per 10 s. Send this prompt again at {LATER}.",
            extensions={"resetsAt": LATER},
        ),
    ),
    (
        "subscription_",
        TooManyRequests(
            "At most 30 requests per hour are accepted for subscriptions. Try again in 900 s."
        ),
    ),
    ("subscription_", AlreadySubscribed(billing.explain_ongoing("past_due"))),
    ("webhook_", InvalidRequest("The request body is not a Stripe event.")),
    ("webhook_", WrongMode("This endpoint accepts live-mode events only.")),
]
"""Examples of errors without a standard text.

An example applies to the functions whose folder names begin with the string before it."""

READS_REFUSAL = TooManyRequests(
    f"At most {READS} GET requests are answered per minute. Try again in 9 s."
)


def answers(route: str, kind: type, status: int) -> dict[str, Any]:
    """Return the examples of a route's answers with this status. Raises LookupError."""
    return {
        name: value
        for name, value in of(kind).items()
        if name in ONLY.get(route, {name}) and (name in UNSUCCESSFUL) == (status >= 400)
    }


def problems(kind: type[AppError], endpoint: Endpoint) -> dict[str, AppError]:
    """Return an endpoint's examples of this error, by name. Raises LookupError."""
    shown = _list_rejections(endpoint.body[0], kind) if endpoint.body else {}
    texts = [error for folders, error in PROBLEMS if endpoint.name.startswith(folders)]
    listed = [error for error in texts if type(error) is kind]
    if kind is TooManyRequests and endpoint.method == "GET":
        listed = [READS_REFUSAL]
    if not listed and hasattr(kind, "detail"):
        listed = [kind()]
    for number, error in enumerate(listed, 1):
        shown[f"{kind.code}-{number}" if number > 1 else kind.code] = error
    if not shown:
        raise LookupError(f"infra/openapi/examples.py has no {kind.__name__} for {endpoint.name}")
    return shown


def _list_rejections(body: type, kind: type[AppError]) -> dict[str, AppError]:
    """Return the errors of this kind that invalid bodies cause, by the name of the problem."""
    good = next(iter(of(body).values()))
    wrong = {"missingField": {}, "unknownField": good | {"colour": "blue"}}
    for name in {"password", "newPassword"} & good.keys():
        wrong["weakPassword"] = good | {name: "12345678"}
    found: dict[str, AppError] = {}
    for name, invalid in wrong.items():
        try:
            parse_json(msgspec.json.encode(invalid), body)
        except AppError as error:
            if type(error) is kind:
                found[name] = error
    return found


def of(kind: type) -> dict[str, Any]:
    """Return the examples of a struct as JSON, by name. Raises LookupError."""
    found = {name: value for name, value in EXAMPLES if type(value) is kind}
    if not found:
        raise LookupError(f"infra/openapi/examples.py has no example of {kind.__name__}")
    return {name: _omit_nulls(value) for name, value in found.items()}


def _omit_nulls(value: msgspec.Struct) -> Any:
    """Return the struct as JSON; a request's body omits the fields that are None."""
    shown: dict[str, Any] = msgspec.to_builtins(value)
    if type(value).__struct_config__.forbid_unknown_fields:
        return {name: item for name, item in shown.items() if item is not None}
    return shown
