"""What the document says in words: conventions, parameters and headers, each described once."""

from typing import Any

TITLE = "geminichat"

DESCRIPTION = """\
Accounts, chatrooms, prompts that are answered asynchronously, and a paid plan.

## Conventions

- **JSON in, JSON out**, UTF-8, names in camelCase. A body is one JSON object of at most 64 KiB,
  sent as `content-type: application/json`; a field that is not described here is refused.
- **Success** is `{"success": true, "message": "…", "data": {…}}`: `message` is one sentence for a
  person, `data` is the resource.
- **Errors** are problem details (RFC 9457, `application/problem+json`). `type` is a stable URI that
  ends in the error's code, `instance` is the request's id, and where a body is at fault `errors`
  lists what is wrong and where (`pointer`, RFC 6901). `success: false` and `message` (= `detail`)
  stand beside them. A bug is a bare 500 that names the request alone.
- **Tokens**: send the access token as `Authorization: Bearer …`. It holds for 15 minutes; a refresh
  token holds for 30 days and is spent when it is used (`POST /auth/refresh`). A spent one that is
  used again ends its session.
- **Ids** are opaque strings. Times are RFC 3339 in UTC with milliseconds, ending in `Z`.
- **Lists are pages**: `limit` (1 to 100, default 20) and `cursor`, which is the `nextCursor` of the
  page before; `nextCursor` is null on the last page. A cursor is good for its own list alone.
- What is someone else's is 404, exactly like what does not exist.
- **Limits**: 429 carries `Retry-After`; where a limit applies, answers carry `RateLimit` and
  `RateLimit-Policy` whether the request passed or not. Prompts have a quota a day (`"day"`), on pro
  none but one of a few seconds (`"burst"`), and tokens (`"tokens"`) where the operator limits them.
- Every answer carries `x-request-id`. Name it when you report a problem.
- The gateway in front has a few answers of its own, `{"message": "…"}` without an envelope: 404 for
  a path or a verb that is not listed here, 413 over 10 MB, 429 and 503 under too much load.

## A prompt, from end to end

`POST /chatroom/{id}/message` answers 202: the prompt is stored and counted, and will end `answered`
or `failed`. Ask `GET /chatroom/{id}/message/{messageId}` until its `status` is one of them, or poll
the room: `GET /chatroom/{id}/message?after=` with the `pollAfter` of the answer before, and its
`ETag` as `If-None-Match` while you ask the same: 304 means that nothing changed. Not after the
newest message: a reply stands behind its prompt, whenever it comes. To send a prompt again without
asking twice, send it with the same `Idempotency-Key`.

[postman.json](docs/postman.json) is a Postman collection of every endpoint, with a walk through all
of this.
"""

BEARER = "The `token` that signing up, logging in, verifying a code or refreshing answered with."

AREAS = {
    "auth": "Accounts",
    "user": "Accounts",
    "chatroom": "Chatrooms",
    "subscription": "Subscription",
    "subscribe": "Subscription",
    "webhook": "Subscription",
    "health": "Service",
    "docs": "Service",
}
"""Which heading a function's area stands under."""

TAGS = {
    "Accounts": "Sign up, prove a number or an address, log in, stay logged in.",
    "Chatrooms": "Rooms, and the prompts and replies in them.",
    "Subscription": "The pro plan, sold through Stripe.",
    "Service": "Whether the API is up, and what it offers.",
}

PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {
        "description": "The room's `id`.",
        "schema": {"type": "string", "examples": ["r_mfzwizltorqxg5dfon2gs3thom"]},
    },
    "messageId": {
        "description": "The message's `id`.",
        "schema": {"type": "string", "examples": ["m_mfzwizltorqxg5dfon2gs3thom_1"]},
    },
    "file": {
        "description": "What the page at `/docs` is made of, or `postman.json`, the collection.",
        "schema": {"enum": ["postman.json", "start.js", "swagger-ui.css", "swagger-ui.js"]},
    },
}

QUERY: dict[str, dict[str, Any]] = {
    "limit": {
        "description": "How many to return at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
    "cursor": {
        "description": "The `nextCursor` of the page before; without it, the first page.",
        "schema": {"type": "string"},
    },
    "after": {
        "description": "Only messages after the one with this id; without it, from the first.",
        "schema": {"type": "string"},
    },
    "deep": {
        "description": "`1` asks what the API stands on as well.",
        "schema": {"type": "string", "examples": ["1"]},
    },
}

HEADERS: dict[str, dict[str, Any]] = {
    "idempotency-key": {
        "name": "Idempotency-Key",
        "description": (
            "Any text of your choice, unique to this prompt. Sent again with it, the same prompt"
            " is stored and counted once, and answered as at first."
        ),
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    },
    "if-none-match": {
        "name": "If-None-Match",
        "description": "The `ETag` you have. Where it still holds, the answer is 304.",
        "schema": {"type": "string"},
    },
    "stripe-signature": {
        "name": "Stripe-Signature",
        "required": True,
        "description": "`t=…,v1=…`: Stripe's signature of the body, five minutes old at most.",
        "schema": {"type": "string"},
    },
}
"""Headers of requests, by their name in lower case."""

RAW_BODY: dict[str, Any] = {
    "required": True,
    "description": "An event, byte for byte as Stripe signed it.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
"""A body that is taken as it stands."""

ANSWER_HEADERS: dict[str, dict[str, Any]] = {
    "x-request-id": {
        "description": "The request's id, as it stands in our log.",
        "schema": {"type": "string"},
    },
    "location": {
        "description": "Where the new resource is.",
        "schema": {
            "type": "string",
            "format": "uri-reference",
            "examples": [
                "/chatroom/r_mfzwizltorqxg5dfon2gs3thom/message/m_mfzwizltorqxg5dfon2gs3thom_1"
            ],
        },
    },
    "etag": {
        "description": "Stands for this very answer; send it back as `If-None-Match`.",
        "schema": {"type": "string", "pattern": '^"[^"]+"$'},
    },
    "cache-control": {
        "description": "Whether the answer may be kept.",
        "schema": {"type": "string"},
    },
    "x-cache": {
        "description": "Whether the list came from the cache.",
        "schema": {"enum": ["hit", "miss"]},
    },
    "idempotency-replayed": {
        "description": "`true` where this `Idempotency-Key` was answered before.",
        "schema": {"const": "true"},
    },
    "ratelimit-policy": {
        "description": (
            "The limits that apply (draft-ietf-httpapi-ratelimit-headers): quota `q` in a window"
            " of `w` seconds."
        ),
        "schema": {"type": "string", "examples": ['"day";q=5;w=86400']},
    },
    "ratelimit": {
        "description": "What is left of them: `r` requests, and `t` seconds until it starts anew.",
        "schema": {"type": "string", "examples": ['"day";r=3;t=43200']},
    },
    "retry-after": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    },
    "www-authenticate": {
        "description": "The scheme that is asked for.",
        "schema": {"type": "string", "pattern": "^Bearer"},
    },
}
"""Headers of answers; others that a handler sends, such as `content-type`, need no words here."""

SHOWN = {
    "ratelimit-policy": "RateLimit-Policy",
    "ratelimit": "RateLimit",
    "etag": "ETag",
    "www-authenticate": "WWW-Authenticate",
}
"""Names whose capitals are not at the beginnings of their parts."""

ERRORS = {
    "already-subscribed": "There is a subscription already; `detail` says what to do about it.",
    "bad-request": "The request is malformed, or a part of it is.",
    "internal-error": "A bug on our side. Name the request's id when you report it.",
    "not-found": "It does not exist, or is someone else's.",
    "too-many-requests": "A limit applies; after `Retry-After` it may not.",
    "weak-password": (
        "The password is too short, one of the most common ones, or equals the identity."
    ),
    "wrong-mode": "A test event where live ones are taken, or the other way round.",
}
"""What an error means to its caller, where neither its text nor its class says so."""

STATUSES = {
    200: "Done",
    201: "Created",
    202: "Taken on, not done yet",
    204: "Done, nothing to say",
    304: "Nothing changed",
    503: "A dependency is out of order.",
}
