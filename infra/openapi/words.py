"""The texts of the OpenAPI document: conventions, parameters and headers."""

from collections.abc import Iterable
from typing import Any

TITLE = "geminichat"

DESCRIPTION = """\
Accounts, chatrooms, prompts that Gemini answers asynchronously, and a paid plan.

## Conventions

- **JSON in, JSON out**, UTF-8, names in camelCase. A body is one JSON object of at most 256 KiB,
  sent as `content-type: application/json`; a field that is not described here is rejected.
- **Success** is `{"success": true, "message": "…", "data": {…}}`: `message` is one sentence for a
  person, `data` is the resource.
- **Errors** are problem details (RFC 9457, `application/problem+json`). `type` is a stable URI that
  ends in the error's code, `instance` is the request's id, and where the body is invalid `errors`
  lists each problem and its place (`pointer`, RFC 6901). The extensions `success: false` and
  `message` (= `detail`) serve clients that read the envelope. A bug is a 500 that tells nothing but
  the request's id.
- **Tokens**: send the access token as `Authorization: Bearer …`. It is valid for 15 minutes; a
  refresh token is valid for 30 days and can be used once (`POST /auth/refresh`). Using a spent one
  again ends its session, except within 20 seconds: then the same pair is returned. A session ends
  after 90 days. A `deviceToken` is no login: sent with one or with a request for a code, it only
  exempts a device that logged in before from limits that strangers have used up.
- **Codes** serve one purpose each: `login`, `link` (add an identity), `confirm` (a fresh proof for
  a change) or the reset of a password. Send the `challenge` of the request back with the code: it
  has five tries of its own then.
- **Ids** are opaque strings. Times are RFC 3339 in UTC with milliseconds, ending in `Z`.
- **Lists are pages**: `limit` (1 to 100, default 20) and `cursor`, which is the `nextCursor` of the
  previous page; `nextCursor` is null on the last page. A cursor is valid only for its own list.
- Someone else's resource is 404, exactly like one that does not exist.
- **Limits**: 429 carries `Retry-After`; where a limit applies, answers carry `RateLimit` and
  `RateLimit-Policy` whether the request passed or not. Prompts have a daily quota (`"day"`) on the
  basic plan, a limit per few seconds (`"burst"`) on the pro plan, and a daily quota of tokens
  (`"tokens"`) where the operator sets one.
- Every answer carries `x-request-id`. Include it when you report a problem.
- The gateway has a few answers of its own, `{"message": "…"}` without an envelope: 404 for a path
  or a method that is not listed here, 413 over 10 MB, 429 and 503 under too much load. The
  platform allows neither problem details nor CORS headers in them: to a browser on another origin
  they are a failed request without a status.

## The life of a prompt

`POST /chatroom/{id}/message` answers 202: the prompt is stored and counted, and will end as
`answered` or `failed`. Poll `GET /chatroom/{id}/message/{messageId}` until its `status` is one of
them, or poll the room: `GET /chatroom/{id}/message?after=` with the `pollAfter` of the previous
answer, and its `ETag` as `If-None-Match` while the request stays the same: 304 means that nothing
changed. Do not poll after the newest message instead: a reply is listed right after its prompt,
whenever it arrives. To repeat a request safely, send it again with the same `Idempotency-Key`.

## Live replies

`POST /live` returns the address of a WebSocket, which opens once and within `expiresIn` seconds. It
receives a JSON text per frame: `text` (a piece of a reply's text from an offset in UTF-16 code
units on), `again` (another attempt replaces the text so far), `look` (fetch the prompt), `ended`
(the prompt has ended, fetch it) and `room` (a room has changed, fetch it). Ignore other types.
Send `{"action": "renew"}` every `pingAfter` seconds: a connection counts for 15 minutes, and one
that is idle for ten is closed. Any connection may be closed at any time: ask for another address.
A user has eight at most; a further one closes the oldest.

Frames may be lost, doubled or overtake each other. Read them so: ignore older attempts; a newer one
begins with an empty text; if `from` is behind the end of your text, fetch the prompt with `?from=`
your length; else your text up to `from`, followed by the frame's, replaces yours if it is longer.
Fetch when a connection opens, and after five seconds without a frame. Polling shows the same
text. [live_reader.js](docs/live_reader.js) and [live_reader.py](docs/live_reader.py) do all of it.

## The line of a room

`PATCH …/message/{messageId}` edits a prompt, `POST …/message/{messageId}/regenerate` asks for
another reply. Both send a new prompt, which counts like any other, in place of that turn and of all
turns after it. These are hidden, not deleted: lists leave them out, Gemini does not see them, and
`POST /chatroom/{id}/undo` brings them back, in place of what came after the edit. When a poll's
page has `reload: true`, messages before the page have changed: load the room again.
`POST /chatroom/{id}/fork` copies what a room shows up to a turn into a new room.

## Failures and models

A failed prompt's `error` has a `code`. `blocked`, `recitation`, `not-accepted`, `prompt-too-long`,
`reply-too-long` and `reply-too-slow` ask for another prompt; `timed-out`, `gemini-unavailable`,
`service-refused` and `model-retired` are not its fault. New codes may be added.

A room names a model of `GET /models`, or an alias, which newer models follow. A model that Google
retires is answered by its replacement: a reply's `model` is the one that answered, `requestedModel`
the name that the room had, where they differ.

[postman.json](docs/postman.json) is a Postman collection of every endpoint, with a journey through
all of this.
"""

BEARER = "The `token` from signing up, logging in, verifying a code or refreshing."

AREAS = {
    "auth": "Accounts",
    "user": "Accounts",
    "chatroom": "Chatrooms",
    "models": "Chatrooms",
    "live": "Chatrooms",
    "subscription": "Subscription",
    "subscribe": "Subscription",
    "webhook": "Subscription",
    "health": "Service",
    "docs": "Service",
    "console": "Service",
}
"""The tag of each area; the area is the first part of a function's folder."""

TAGS = {
    "Accounts": "Sign up, verify a number or an address, log in, refresh a session.",
    "Chatrooms": "Rooms, and the prompts and replies in them.",
    "Subscription": "The pro plan, sold through Stripe.",
    "Service": "Health and documentation.",
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
        "description": "An asset of the page; `postman.json` at `/docs` is the collection.",
        "schema": {"type": "string", "examples": ["start.js"]},
    },
}

# An empty value means that the parameter is absent (infra/openapi/document.py says so of each).
QUERY: dict[str, dict[str, Any]] = {
    "limit": {
        "description": "The largest number of items to return.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
    "cursor": {
        "description": "The `nextCursor` of the previous page; without it, the first page.",
        "schema": {"type": "string"},
    },
    "after": {
        "description": "Return only messages after the one with this id; without it, all.",
        "schema": {"type": "string"},
    },
    "from": {
        "description": "Return a generating prompt's text so far from this offset on, in UTF-16 "
        "code units, as `partial`. While a client polls with it, the "
        "text so far is stored once per second.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    },
    "deep": {
        "description": "`1` checks the dependencies too.",
        "schema": {"type": "string", "examples": ["1"]},
    },
}

HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "description": (
            "Any text of your choice, unique to this prompt. When the same request is sent again"
            " with it, the prompt is stored and counted once, and the answer is the same."
        ),
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "description": "The `ETag` of an earlier answer. While it is current, the answer is 304.",
        "schema": {"type": "string"},
    },
    "Stripe-Signature": {
        "name": "Stripe-Signature",
        "required": True,
        "description": "`t=…,v1=…`: Stripe's signature of the body, at most five minutes old.",
        "schema": {"type": "string"},
    },
}
"""Headers of requests."""

RAW_BODY: dict[str, Any] = {
    "required": True,
    "description": "A Stripe event, byte for byte as it was signed.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
"""A body that is used byte for byte."""

ANSWER_HEADERS: dict[str, dict[str, Any]] = {
    "x-request-id": {
        "description": "The request's id, which our log shows.",
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "The address of the new resource.",
        "schema": {
            "type": "string",
            "format": "uri-reference",
            "examples": [
                "/chatroom/r_mfzwizltorqxg5dfon2gs3thom/message/m_mfzwizltorqxg5dfon2gs3thom_1"
            ],
        },
    },
    "ETag": {
        "description": "Identifies this version of the answer; send it back as `If-None-Match`.",
        "schema": {"type": "string", "pattern": '^"[^"]+"$'},
    },
    "Cache-Control": {
        "description": "Whether the answer may be cached.",
        "schema": {"type": "string"},
    },
    "x-cache": {
        "description": "Whether the list came from the cache.",
        "schema": {"enum": ["hit", "miss"]},
    },
    "Idempotency-Replayed": {
        "description": "`true` if this `Idempotency-Key` was answered before.",
        "schema": {"const": "true"},
    },
    "RateLimit-Policy": {
        "description": (
            "The limits that apply (draft-ietf-httpapi-ratelimit-headers): quota `q` in a window"
            " of `w` seconds."
        ),
        "schema": {"type": "string", "examples": ['"day";q=5;w=86400']},
    },
    "RateLimit": {
        "description": "Per limit: `r` requests that remain, and `t` seconds until it resets.",
        "schema": {"type": "string", "examples": ['"day";r=3;t=43200']},
    },
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"},
    },
    "WWW-Authenticate": {
        "description": "The authentication scheme that is required.",
        "schema": {"type": "string", "pattern": "^Bearer"},
    },
}
"""Headers of answers, except for HTTP's own such as `Content-Type`."""

STATUSES = {
    200: "Done",
    201: "Created",
    202: "Accepted, not done yet",
    204: "Done, no content",
    304: "Nothing changed",
    503: "A dependency is down.",
}


def headers(names: Iterable[str]) -> dict[str, Any]:
    """Return references to the headers of these names, in whatever case."""
    lower = {name.lower() for name in names}
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in sorted(ANSWER_HEADERS, key=str.lower)
        if name.lower() in lower
    }
