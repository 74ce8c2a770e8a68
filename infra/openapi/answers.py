"""Statuses, headers and parameters of each endpoint, for the OpenAPI document.

The integration tests compare every answer with the document: a test fails if an answer has a
status or a header that is missing here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

type Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One endpoint's answers that are not errors, and its query and header parameters."""

    status: int = 200
    also: tuple[int, ...] = ()
    """Further statuses of answers that are not errors."""
    headers: tuple[str, ...] = ()
    """Headers of the answers; `infra/openapi/words.py` has their descriptions."""
    query: tuple[str, ...] = ()
    request_headers: tuple[str, ...] = ()
    content_types: tuple[str, ...] = ()
    """The content types of an answer without the usual envelope."""
    extensions: Mapping[str, Json] = field(default_factory=dict)
    """Schemas of the envelope's additional fields, by field name."""
    raw_body: bool = False
    """Whether the endpoint needs the exact bytes of the request's body, to verify a signature."""


LIMITS = ("RateLimit", "RateLimit-Policy")
PAGE = ("limit", "cursor")

HTML = Answers(content_types=("text/html",))
NOT_STORED = Answers(headers=("Cache-Control",))
NOT_STORED_LIMITED = Answers(headers=("Cache-Control", *LIMITS))
NEW_TURN = Answers(
    status=202,
    headers=("Idempotency-Replayed", "Location", *LIMITS),
    request_headers=("Idempotency-Key",),
)


def _file(*content_types: str) -> Answers:
    return Answers(
        also=(304,),
        headers=("Cache-Control", "ETag"),
        request_headers=("If-None-Match",),
        content_types=content_types,
    )


ANSWERS: Mapping[str, Answers] = {
    "GET /health": Answers(also=(503,), query=("deep",)),
    "GET /openapi.json": _file("application/json"),
    "GET /": _file("text/html"),
    "GET /console/{file}": _file("text/css", "text/javascript", "image/svg+xml"),
    "GET /docs": _file("text/html"),
    "GET /docs/{file}": _file("application/json", "text/css", "text/javascript", "text/x-python"),
    "POST /auth/signup": Answers(status=201, headers=("Cache-Control", *LIMITS)),
    "POST /auth/login": NOT_STORED_LIMITED,
    "POST /auth/send-otp": NOT_STORED_LIMITED,
    "POST /auth/verify-otp": NOT_STORED,
    "POST /auth/forgot-password": NOT_STORED_LIMITED,
    "POST /auth/reset-password": NOT_STORED,
    "POST /auth/change-password": NOT_STORED_LIMITED,
    "POST /auth/refresh": NOT_STORED,
    "GET /auth/me": NOT_STORED,
    "GET /user/me": NOT_STORED,
    "POST /user/identity": NOT_STORED_LIMITED,
    "POST /user/export": Answers(status=202, headers=("Cache-Control", *LIMITS)),
    "GET /user/export": NOT_STORED,
    "DELETE /user": Answers(status=202, headers=("Cache-Control", *LIMITS)),
    "POST /chatroom": Answers(status=201, headers=("Location",)),
    "GET /chatroom": Answers(headers=("x-cache",), query=PAGE),
    "GET /chatroom/{id}": Answers(query=PAGE),
    "DELETE /chatroom/{id}": Answers(status=204),
    "POST /chatroom/{id}/message": NEW_TURN,
    "PATCH /chatroom/{id}/message/{messageId}": NEW_TURN,
    "POST /chatroom/{id}/message/{messageId}/regenerate": NEW_TURN,
    "POST /chatroom/{id}/undo": Answers(request_headers=("Idempotency-Key",)),
    "POST /chatroom/{id}/fork": Answers(
        status=201, headers=("Location",), request_headers=("Idempotency-Key",)
    ),
    "GET /chatroom/{id}/message": Answers(
        also=(304,),
        headers=("Cache-Control", "ETag"),
        query=(*PAGE, "after"),
        request_headers=("If-None-Match",),
    ),
    "POST /chatroom/{id}/message/{messageId}/retry": Answers(
        status=202, headers=("Location", *LIMITS)
    ),
    "POST /chatroom/{id}/message/{messageId}/stop": Answers(status=202),
    "GET /chatroom/{id}/message/{messageId}": Answers(query=("from",)),
    "POST /subscribe/pro": Answers(
        headers=("Cache-Control", *LIMITS),
        extensions={"url": {"type": "string", "description": "The same as `data.url`."}},
    ),
    "POST /subscription/portal": NOT_STORED_LIMITED,
    "POST /subscription/cancel": Answers(headers=LIMITS),
    "POST /subscription/resume": Answers(headers=LIMITS),
    "GET /subscription/success": HTML,
    "GET /subscription/cancel": HTML,
    "POST /webhook/stripe": Answers(
        request_headers=("Stripe-Signature",),
        extensions={"received": {"const": True}},
        raw_body=True,
    ),
}
"""The answers by route; a route without an entry answers 200 with the envelope."""


def answers_of(route: str) -> Answers:
    """Return the entry of a route in ANSWERS, or the default answers."""
    return ANSWERS.get(route, Answers())
