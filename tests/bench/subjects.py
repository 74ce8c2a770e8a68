"""One ordinary request for each function, and the answers of the services that it calls."""

import base64
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from argon2 import PasswordHasher

from geminichat import access_tokens
from geminichat.domain import codes, ids, sessions, tickets, times
from geminichat.domain.identities import Identity
from geminichat.domain.sessions import Claims, RefreshToken
from infra import template
from infra.local.cloud.http_events import http_event, set_route
from tests.bench.host import BenchError
from tests.bench.standins import Item, World
from tests.support.template import FUNCTIONS, TABLES, TEMPLATE, Values, routes_of

REGION, ACCOUNT = "us-east-1", "000000000000"
NOW = datetime.now(UTC)
KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()
SIGNING_KEYS = json.dumps({"current": "k1", "keys": {"k1": KEY}})
PASSWORD = "correct horse battery"

USER, ROOM, SESSION = f"u_{'a' * 26}", f"r_{'b' * 26}", f"s_{'c' * 26}"
PROMPT = ids.message_id(ROOM, 1)
CONTENT = "What is a message queue, and when would I use one? " * 4
REFRESH = RefreshToken(user_id=USER, session_id=SESSION, family="f" * 43, secret="g" * 43)


ANN = Identity("email", "ann@example.com")
OTP = "123456"
CHALLENGE = f"c_{'d' * 26}"
CUSTOMER = "cus_1"
STRIPE_SECRETS = {
    "STRIPE_KEY_PARAMETER": "sk_test_bench",
    "STRIPE_WEBHOOK_SECRET_PARAMETER": "whsec_bench",
}


@dataclass(frozen=True)
class Ask:
    """A request to a function, and the answers of the services that it calls."""

    path: str = ""
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    event: Mapping[str, Any] | None = None
    """The whole event, for functions without HTTP."""
    public: bool = False
    missing: Sequence[str] = ()
    """Tables (by logical id) in which nothing is found."""
    items: Mapping[str, Item] = field(default_factory=dict)
    """Attributes to change in a table's sample item, by the table's logical id."""
    redis: Sequence[Any] = ()
    usual: str = "get"
    """The kind of work, which selects the reference in the usual way."""
    hashes: int = 0
    """The number of passwords that the function hashes, which is slow on purpose."""
    issues: bool = False
    """Whether the answer contains an access token."""


def _moment(days: float = 0.0) -> str:
    return times.text(NOW + timedelta(days=days))


def _act(name: str) -> dict[str, Any]:
    """Return the Lambda event of an operator's act."""
    act = {"act": name, "id": f"a_{'h' * 26}", "reason": "ticket 41"}
    if name != "redrive":
        act["userId"] = USER
    signed = "AWS4-HMAC-SHA256 SignedHeaders=host;x-amz-date;x-geminichat-act, Signature=0"
    return {"request": json.dumps(act), "proof": {"authorization": signed}}


def _sent_codes(purpose: codes.Purpose) -> list[Item]:
    """Return a list of sent codes: one code for this purpose."""
    return [
        {
            "challenge": CHALLENGE,
            "digest": codes.digest(OTP, purpose, ANN, CHALLENGE, base64.urlsafe_b64decode(KEY)),
            "kid": "k1",
            "purpose": str(purpose),
            "sent_at": times.millis(NOW - timedelta(minutes=1)),
            "sender": codes.name_caller("203.0.113.7", None),
        }
    ]


def _items() -> dict[str, Item]:
    """Return the sample item of every table, by logical id."""
    return {
        "UsersTable": {
            "user_id": USER,
            "email": "ann@example.com",
            "email_verified": True,
            "mobile_verified": False,
            "password_hash": PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(
                PASSWORD
            ),
            "sessions": {SESSION: int((NOW - timedelta(days=1)).timestamp())},
            "created_at": _moment(-30),
        },
        "IdentitiesTable": {
            "user_id": USER,
            "proven": True,
            "replaced": False,
            "since": _moment(-30),
        },
        "CodesTable": {
            "identity": ANN.key,
            "sent": _sent_codes(codes.Purpose.LOGIN),
            "version": 1,
            "expires_at": int((NOW + timedelta(hours=1)).timestamp()),
        },
        "SessionsTable": {
            "user_id": USER,
            "session_id": SESSION,
            "family_hash": REFRESH.family_hash,
            "secret_hash": REFRESH.secret_hash,
            "created_at": _moment(-1),
            "expires_at": sessions.expiry(NOW - timedelta(days=1), NOW),
        },
        "LimitsTable": {
            "limit_key": "codes:203.0.113.7:494664",
            "count": 1,
            "at": int(NOW.timestamp()),
            "expires_at": int((NOW + timedelta(days=1)).timestamp()),
        },
        "PurgesTable": {
            "user_id": USER,
            "queue": "all",
            "due_at": int((NOW + timedelta(days=7)).timestamp()),
            "started": False,
        },
        "AuditTable": {
            "user_id": USER,
            "act_id": f"a_{'h' * 26}",
            "day": times.day(NOW),
            "at": _moment(),
            "act": "ban",
            "operator": f"arn:aws:iam::{ACCOUNT}:user/support",
            "reason": "ticket 41",
            "details": "{}",
        },
        "ChatroomsTable": {
            "user_id": USER,
            "chatroom_id": ROOM,
            "title": "Queues and how to use them",
            "model": "gemini-3.6-flash",
            "system_instruction": "Be brief, and say what you do not know.",
            "last_seq": 20,
            "created_at": _moment(-2),
            "updated_at": _moment(-1),
        },
        "MessagesTable": {
            "chatroom_id": ROOM,
            "seq": 1,
            "user_id": USER,
            "sender": "user",
            "content": CONTENT,
            "model": "gemini-3.6-flash",
            "created_at": _moment(-1),
            "status": "answered",
            "system_instruction": "Be brief, and say what you do not know.",
            "attempts": 1,
            "counted_on": times.day(NOW),
        },
        "UsageTable": {
            "user_id": USER,
            "day": times.day(NOW),
            "prompts": 2,
            "input_tokens": 600,
            "output_tokens": 400,
        },
        "SubscriptionsTable": {
            "user_id": USER,
            "stripe_customer_id": CUSTOMER,
            "stripe_subscription_id": "sub_1",
            "status": "active",
            "period_end": _moment(20),
            "ends": False,
            "pro_until": _moment(22),
            "revision": 3,
            "customer_attempt": 0,
            "checkout_attempt": 0,
        },
        "StripeEventsTable": {"event_id": "evt_1", "type": "invoice.paid"},
        "IdempotencyKeysTable": {
            "user_id": USER,
            "key": "k",
            "fingerprint": "f",
            "chatroom_id": ROOM,
            "seq": 1,
            "expires_at": int((NOW + timedelta(days=1)).timestamp()),
        },
        "ExportsTable": {
            "user_id": USER,
            "export_id": f"e_{'e' * 26}",
            "status": "preparing",
            "requested_at": _moment(),
            "expires_at": int((NOW + timedelta(days=7)).timestamp()),
        },
        "LiveTable": {
            "user_id": USER,
            "expires_at": int((NOW + timedelta(days=1)).timestamp()),
        },
        "PiecesTable": {
            "attempt": f"{ROOM}:1:1",
            "from": 0,
            "text": "Hello",
            "length": 5,
            "expires_at": int((NOW + timedelta(hours=1)).timestamp()),
        },
    }


def sqs_event(prompts: int) -> Mapping[str, Any]:
    """Return the event of a batch with one prompt from each of up to ten rooms."""
    rooms = [f"r_{letter:a>26}" for letter in "abcdefghij"[:prompts]]
    return {
        "Records": [
            {
                "messageId": f"00000000-0000-0000-0000-00000000000{place}",
                "receiptHandle": "handle",
                "body": json.dumps({"chatroomId": room, "seq": 21}),
                "attributes": {"MessageGroupId": room, "ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "awsRegion": REGION,
            }
            for place, room in enumerate(rooms)
        ]
    }


def _connection(route: str) -> Mapping[str, Any]:
    """Return the event of a WebSocket route."""
    authorizer = {"principalId": USER, "sessionId": SESSION, "nonce": "nonce"}
    context = {"routeKey": route, "connectionId": "c1", "authorizer": authorizer}
    return {"requestContext": {**context, "requestTimeEpoch": NOW.timestamp() * 1000}}


def _handshake() -> Mapping[str, Any]:
    """Return the event of a WebSocket authorizer."""
    key = base64.urlsafe_b64decode(KEY)
    return {
        "methodArn": "arn:aws:execute-api:us-east-1:123456789012:api/live/$connect",
        "queryStringParameters": {
            "ticket": tickets.issue(Claims(USER, SESSION), "bench", "k1", key, NOW)
        },
        "requestContext": {"requestTimeEpoch": NOW.timestamp() * 1000},
    }


_ROOM = f"/chatroom/{ROOM}"
_ONE = f"{_ROOM}/message/{PROMPT}"
_QUEUED: Item = {"status": "queued", "sender": "user", "attempts": 0}
_UNTITLED = {"userId": USER, "chatroomId": ROOM, "seq": 21}
_EXPORT = {"userId": USER, "exportId": f"e_{'e' * 26}"}
_UNPAID: Item = {"stripe_subscription_id": None, "status": "none", "pro_until": None}
_EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "invoice.paid",
    "livemode": False,
    "created": int(NOW.timestamp()),
    "data": {"object": {"id": "in_1", "object": "invoice", "customer": CUSTOMER}},
}

ASKS: dict[str, Ask] = {
    "HealthCheck": Ask("/health", public=True, usual="health"),
    "AuthSignup": Ask(
        "/auth/signup",
        {"email": "ann@example.com", "password": PASSWORD},
        public=True,
        missing=["IdentitiesTable"],
        usual="login",
        issues=True,
        hashes=1,
    ),
    "AuthLogin": Ask(
        "/auth/login",
        {"email": "ann@example.com", "password": PASSWORD},
        public=True,
        usual="login",
        issues=True,
        hashes=1,
    ),
    "AuthSendOtp": Ask("/auth/send-otp", {"email": ANN.value}, public=True, usual="login"),
    "AuthVerifyOtp": Ask(
        "/auth/verify-otp",
        {"email": ANN.value, "otp": OTP},
        public=True,
        usual="login",
        issues=True,
    ),
    "AuthForgotPassword": Ask(
        "/auth/forgot-password", {"email": ANN.value}, public=True, usual="login"
    ),
    "AuthResetPassword": Ask(
        "/auth/reset-password",
        {"email": ANN.value, "otp": OTP, "newPassword": f"{PASSWORD} staple"},
        public=True,
        items={"CodesTable": {"sent": _sent_codes(codes.Purpose.RESET)}},
        usual="login",
        hashes=1,
    ),
    "AuthChangePassword": Ask(
        "/auth/change-password",
        {"currentPassword": PASSWORD, "newPassword": f"{PASSWORD} staple"},
        usual="login",
        issues=True,
        hashes=2,
    ),
    "AuthRefresh": Ask(
        "/auth/refresh", {"refreshToken": REFRESH.text()}, public=True, usual="login", issues=True
    ),
    "AuthLogout": Ask("/auth/logout", usual="create"),
    "AuthMe": Ask("/auth/me"),
    "UserMe": Ask("/user/me"),
    "UserExport": Ask(
        "/user/export",
        {"currentPassword": PASSWORD},
        missing=["ExportsTable"],
        usual="login",
        hashes=1,
    ),
    "UserGetExport": Ask(
        "/user/export", items={"ExportsTable": {"status": "ready", "size": 48_213}}
    ),
    "ExportsWrite": Ask(
        event={"Records": [{"messageId": "1", "body": json.dumps(_EXPORT)}]},
        usual="sweep",
    ),
    "UserDelete": Ask("/user", {"currentPassword": PASSWORD}, usual="login", hashes=1),
    "UserAddIdentity": Ask(
        "/user/identity",
        {"email": ANN.value, "otp": OTP, "currentPassword": PASSWORD},
        missing=["IdentitiesTable"],
        items={"CodesTable": {"sent": _sent_codes(codes.Purpose.LINK)}},
        usual="login",
        hashes=1,
    ),
    "ChatroomCreate": Ask("/chatroom", {"title": "Queues"}, usual="create"),
    "ChatroomList": Ask("/chatroom", redis=[["fill", []], 1], usual="list"),
    "ChatroomGet": Ask(_ROOM, usual="get"),
    "ChatroomUpdate": Ask(_ROOM, {"title": "Queues"}, usual="create"),
    "ChatroomDelete": Ask(_ROOM, usual="create"),
    "ChatroomSendMessage": Ask(
        f"{_ROOM}/message", {"content": CONTENT}, redis=[["admitted", "basic", 3, 1]], usual="send"
    ),
    "ChatroomListMessages": Ask(f"{_ROOM}/message", usual="get"),
    "ChatroomGetMessage": Ask(_ONE, usual="get"),
    "ChatroomRetryMessage": Ask(
        f"{_ONE}/retry",
        redis=[["admitted", "basic", 3, 1]],
        items={"MessagesTable": {"status": "failed"}},
        usual="send",
    ),
    "ChatroomStopMessage": Ask(
        f"{_ONE}/stop", items={"MessagesTable": {"status": "generating"}}, usual="create"
    ),
    "ChatroomEditMessage": Ask(
        _ONE,
        {"content": CONTENT},
        redis=[["admitted", "basic", 3, 1]],
        usual="send",
    ),
    "ChatroomRegenerateMessage": Ask(
        f"{_ONE}/regenerate", {}, redis=[["admitted", "basic", 3, 1]], usual="send"
    ),
    "ChatroomUndo": Ask(
        f"{_ROOM}/undo", items={"ChatroomsTable": {"line": '{"edits":[[1,2]]}'}}, usual="create"
    ),
    "ChatroomFork": Ask(f"{_ROOM}/fork", {"upTo": PROMPT}, usual="create"),
    "LiveOpen": Ask("/live", usual="get"),
    "LiveAuthorize": Ask(event=_handshake(), usual="health"),
    "LiveConnect": Ask(event=_connection("$connect"), usual="create"),
    "LiveRenew": Ask(event=_connection("renew"), usual="create"),
    "LiveDisconnect": Ask(event=_connection("$disconnect"), usual="create"),
    "GeminiWorker": Ask(event=sqs_event(1), items={"MessagesTable": _QUEUED}, usual="worker"),
    "TitlesGenerate": Ask(
        event={"Records": [{"messageId": "1", "body": json.dumps(_UNTITLED)}]},
        items={"ChatroomsTable": {"auto_title": "due"}},
        usual="worker",
    ),
    "SubscriptionCheckout": Ask(
        "/subscribe/pro", items={"SubscriptionsTable": _UNPAID}, usual="create"
    ),
    "ModelsList": Ask("/models", usual="get"),
    "ModelsCheck": Ask(event={}, usual="sweep"),
    "SubscriptionStatus": Ask("/subscription/status", usual="get"),
    "SubscriptionPortal": Ask("/subscription/portal", usual="create"),
    "SubscriptionCancel": Ask("/subscription/cancel", usual="create"),
    "SubscriptionResume": Ask("/subscription/resume", usual="create"),
    "SubscriptionSuccess": Ask("/subscription/success", public=True, usual="health"),
    "SubscriptionCancelled": Ask("/subscription/cancel", public=True, usual="health"),
    "SubscriptionReconcile": Ask(event={}, items={"SubscriptionsTable": _UNPAID}, usual="sweep"),
    "WebhookStripe": Ask(
        "/webhook/stripe", _EVENT, public=True, missing=["StripeEventsTable"], usual="create"
    ),
    "ConsolePage": Ask("/", public=True, usual="health"),
    "ConsoleAsset": Ask("/console/start.js", public=True, usual="health"),
    "DocsAsset": Ask("/docs/swagger-ui.css", public=True, usual="health"),
    "DocsOpenapi": Ask("/openapi.json", public=True, usual="health"),
    "DocsPage": Ask("/docs", public=True, usual="health"),
    "PromptsSweep": Ask(event={}, usual="sweep"),
    "UserPurge": Ask(event={}, missing=["PurgesTable"], usual="sweep"),
    "AdminShow": Ask(event={"request": json.dumps({"ask": "show", "userId": USER})}, usual="get"),
    "AdminDelete": Ask(event=_act("delete"), missing=["AuditTable"], usual="create"),
    "AdminRedrive": Ask(event=_act("redrive"), missing=["AuditTable"], usual="sweep"),
    "AdminExport": Ask(
        event=_act("export"), missing=["AuditTable", "ExportsTable"], usual="create"
    ),
    "AdminChange": Ask(event=_act("end-sessions"), missing=["AuditTable"], usual="create"),
}


def _stripe(*, paying: bool) -> dict[str, Any]:
    """Return Stripe's answer for each method and beginning of a path."""
    moment = int(NOW.timestamp())
    subscription = {
        "id": "sub_1",
        "object": "subscription",
        "customer": CUSTOMER,
        "status": "active",
        "created": moment - 864_000,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "metadata": {"stage": "bench", "user_id": USER},
        "items": {
            "object": "list",
            "data": [
                {
                    "id": "si_1",
                    "object": "subscription_item",
                    "current_period_start": moment - 864_000,
                    "current_period_end": moment + 1_728_000,
                }
            ],
        },
    }
    session = {
        "id": "cs_1",
        "object": "checkout.session",
        "status": "open",
        "url": "https://checkout.stripe.com/c/pay/cs_1",
        "expires_at": moment + 86_400,
        "metadata": {},
    }
    portal = {
        "id": "bps_1",
        "object": "billing_portal.session",
        "url": "https://billing.stripe.com/p/session/1",
    }
    customer = {"id": CUSTOMER, "object": "customer", "metadata": {}}
    return {
        "GET /v1/subscriptions": {
            "object": "list",
            "data": [subscription] if paying else [],
            "has_more": False,
        },
        "GET /v1/subscriptions/": subscription,
        "POST /v1/subscriptions/": subscription,
        "GET /v1/customers/": customer,
        "GET /v1/checkout/sessions": {"object": "list", "data": [], "has_more": False},
        "POST /v1/checkout/sessions": session,
        "POST /v1/billing_portal/sessions": portal,
    }


def http_functions() -> list[str]:
    """Return the logical ids of the functions behind the HTTP API."""
    return [name for name in FUNCTIONS if routes_of(name)]


@dataclass(frozen=True)
class Settings:
    """The template's resolved values, the functions' environment, and the tables' sample items."""

    values: Values
    environment: Mapping[str, str]
    samples: Mapping[str, Item]

    def world(self, function: str) -> World:
        """Return the answers of the services for a function's ordinary request."""
        ask = ask_of(function)
        tables = {
            self.values.refs[table]: {**item, **ask.items.get(table, {})}
            for table, item in self.samples.items()
        }
        return World(
            tables=tables,
            secrets={
                self.environment["SIGNING_KEYS_PARAMETER"]: SIGNING_KEYS,
                **{self.environment[name]: value for name, value in STRIPE_SECRETS.items()},
            },
            stripe=_stripe(paying=ask.items.get("SubscriptionsTable") is not _UNPAID),
            missing=frozenset(self.values.refs[table] for table in ask.missing),
            redis=list(ask.redis),
        )


def ask_of(function: str) -> Ask:
    """Return a function's ordinary request. Raises BenchError if there is none."""
    if function not in ASKS:
        raise BenchError(f"tests/bench/subjects.py has no request for {function}.")
    return ASKS[function]


def event_of(function: str) -> Mapping[str, Any]:
    """Return the event of a function's ordinary request."""
    ask = ask_of(function)
    if ask.event is not None:
        return ask.event
    route = routes_of(function)[0]
    body = None if ask.body is None else json.dumps(ask.body).encode()
    headers = {"content-type": "application/json", **ask.headers}
    if not ask.public:
        claims = Claims(USER, SESSION)
        token = access_tokens.issue(claims, "k1", base64.urlsafe_b64decode(KEY), datetime.now(UTC))
        headers["authorization"] = f"Bearer {token}"
    if "webhook" in ask.path:
        stamp = int(time.time())
        signed = f"{stamp}.{json.dumps(ask.body)}".encode()
        mac = hmac.digest(b"whsec_bench", signed, "sha256").hex()
        headers["stripe-signature"] = f"t={stamp},v1={mac}"
    event = http_event(route.split(" ")[0], ask.path, body=body, headers=headers)
    set_route(event, route)
    return event


def settings(url: str) -> Settings:
    """Return settings with one URL for all services. Raises BenchError if a sample is missing."""
    refs = {name: spec.get("Default") for name, spec in TEMPLATE["Parameters"].items()}
    refs |= {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws"}
    refs |= {name: url for name in refs if name.endswith("Endpoint")}
    refs |= {"Stage": "bench", "UpstashUrl": url, "StripePrice": "price_1"}
    refs |= {name: name for name in TEMPLATE["Resources"]}
    for name, resource in TEMPLATE["Resources"].items():
        if resource["Type"] == "AWS::SQS::Queue":
            refs[name] = f"{url}/{ACCOUNT}/{name}"
    attributes: dict[str, str] = {}
    values = Values(refs, attributes)
    declared = template.settings(TEMPLATE)
    environment = {name: str(values.resolve(value)) for name, value in declared.items()}
    environment |= {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "token",
        "NO_PROXY": "127.0.0.1",
    }
    samples = _items()
    if unknown := set(TABLES) - set(samples):
        missing = ", ".join(sorted(unknown))
        raise BenchError(f"tests/bench/subjects.py has no sample item for {missing}.")
    return Settings(values, environment, samples)
