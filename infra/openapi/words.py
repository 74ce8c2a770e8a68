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
  ends in the error's code, and `instance` is the request's id. If the body is invalid, `errors`
  lists each problem and its place (`pointer`, RFC 6901). The extensions `success: false` and
  `message` (= `detail`) serve clients that read the envelope. After an unexpected error, the answer
  is a 500 that contains only the request's id.
- **Tokens**: send the access token as `Authorization: Bearer …`. It is valid for 15 minutes; a
  refresh token is valid for 30 days and can be used once (`POST /auth/refresh`). A second use
  returns the same pair within 20 seconds; later it ends the session. A session ends after 90
  days. A `deviceToken` does not log in. Send the `deviceToken` with a login or with a request for a
  code: if strangers have used up a limit, this limit does not apply to a device that has logged in
  before.
- **Codes** serve one purpose each: `login`, `link` (add an email or a mobile number), `confirm`
  (confirm a change) or the reset of a password. Send the code together with the `challenge` that
  you received when you requested the code: the code then has five tries of its own.
- **Ids** are opaque strings. Times are RFC 3339 in UTC with milliseconds, ending in `Z`.
- **Lists are pages**: `limit` (1 to 100, default 20) and `cursor`, which is the `nextCursor` of the
  previous page; `nextCursor` is null on the last page. A cursor is valid only for its own list.
- Another user's resource is answered with 404, like a resource that does not exist.
- **Limits**: a 429 has a `Retry-After`. If a limit applies, every answer has `RateLimit` and
  `RateLimit-Policy`, whether the request passed or not. Prompts have a daily quota (`"day"`) on the
  basic plan, a limit per few seconds (`"burst"`) on the pro plan, and a daily quota of tokens
  (`"tokens"`) if the operator sets one.
- Every answer carries `x-request-id`. Include it when you report a problem.
- The gateway has a few answers of its own, `{"message": "…"}` without an envelope: 404 for a path
  or a method that is not listed here, 413 over 10 MB, 429 and 503 under too much load. The
  platform allows neither problem details nor CORS headers in these answers: a browser on another
  origin sees a failed request without a status.

## The life of a prompt

`POST /chatroom/{id}/message` answers 202: the prompt is stored and counted, and will end with the
`status` `answered`, `failed` or `stopped`. Until then, poll
`GET /chatroom/{id}/message/{messageId}`, or poll the room: `GET /chatroom/{id}/message?after=` with
the `pollAfter` of the previous answer. While the request stays the same, send the previous `ETag`
as `If-None-Match`: 304 means that nothing changed. Do not use the newest message as `after`: a late
reply is listed directly after its prompt, not at the end. To repeat a request safely, send it again
with the same `Idempotency-Key`.

## Live replies

`POST /live` returns the URL of a WebSocket. The URL opens one connection, within `expiresIn`
seconds. Each frame is a JSON object with a `type`: `text` (a piece of a reply's text, with its
offset in UTF-16 code units), `again` (another attempt replaces the text so far), `look`
(fetch the prompt), `ended` (the prompt has ended, fetch it) or `room` (a room has changed, fetch
it). Ignore other types. Send `{"action": "renew"}` every `pingAfter` seconds: otherwise the
connection gets no frames after 15 minutes, and is closed after ten minutes without a message. Any
connection may be closed at any time: request another URL. A user has at most eight connections;
the next connection closes the oldest.

Frames may be lost, repeated or reordered. Ignore a frame of an older `attempt`; a newer attempt
starts with an empty text. If `from` is beyond the end of your text, fetch the prompt with the
length of your text as `?from=`. Otherwise cut your text at `from` and append the frame's text; keep
the result if it is longer than your text. Also fetch the prompt when a connection opens, and after
five seconds without a frame. Polling shows the same text. [live_reader.js](docs/live_reader.js) and
[live_reader.py](docs/live_reader.py) do all of this.

## The line of a room

`PATCH …/message/{messageId}` edits a prompt, `POST …/message/{messageId}/regenerate` asks for
another reply. Both send a new prompt, which counts like any other. The new prompt replaces the turn
and all turns after it. The replaced turns are hidden, not deleted: lists omit these turns, and
Gemini does not receive them. `POST /chatroom/{id}/undo` shows the hidden turns again, and hides the
new turns. If the answer to a poll has `reload: true`, earlier messages have changed: load the room
again. `POST /chatroom/{id}/fork` copies the visible turns of a room, up to a message, to a new
room.

## Failures and models

A failed prompt's `error` has a `code`. After `blocked`, `recitation`, `not-accepted`,
`prompt-too-long`, `reply-too-long` and `reply-too-slow`, send a different prompt. The prompt is not
the cause of `timed-out`, `gemini-unavailable`, `service-refused` and `model-retired`. New codes may
be added.

A room names a model of `GET /models`, or an alias, which moves to newer models. After Google has
retired a model, its replacement answers: a reply's `model` is the model that answered, and
`requestedModel` is the model of the room, if that was another model.

[postman.json](docs/postman.json) is a Postman collection of every endpoint, with a journey through
the API.
"""

BEARER = "The `token` in the answer to a sign-up, a log-in, a verified code or a refresh."

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
"""The tag of each area. An area is the first part of a folder's name in functions/."""

TAGS = {
    "Accounts": "Sign up, verify an email or a mobile number, log in, refresh a session.",
    "Chatrooms": "Rooms, and the prompts and replies in them.",
    "Subscription": "The pro plan, sold through Stripe.",
    "Service": "Health, documentation and the chat console.",
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
        "description": "The file's name; `/docs/postman.json` is the Postman collection.",
        "schema": {"type": "string", "examples": ["start.js"]},
    },
}

# An empty value of one of these parameters means the same as no parameter (see document.py).
QUERY: dict[str, dict[str, Any]] = {
    "limit": {
        "description": "The maximum number of items to return.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    },
    "cursor": {
        "description": "The `nextCursor` of the previous page. Omit `cursor` for the first page.",
        "schema": {"type": "string"},
    },
    "after": {
        "description": "Return only the messages after the message with this id (default: all).",
        "schema": {"type": "string"},
    },
    "from": {
        "description": "Return the text of an unfinished reply as `partial`, from this offset on "
        "(in UTF-16 code units). While a client polls with this parameter, the text is stored "
        "once per second.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    },
    "deep": {
        "description": "`1` to check the dependencies, too.",
        "schema": {"type": "string", "examples": ["1"]},
    },
}

HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "description": (
            "A text of your choice that is unique to this prompt. A repeated request with the same"
            " key gets the same answer, and the prompt is stored and counted once."
        ),
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "description": "The `ETag` of an earlier answer. If nothing changed, the answer is 304.",
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
    "description": "A Stripe event, exactly as Stripe signed it.",
    "content": {"application/json": {"schema": {"type": "object"}}},
}
"""The request body of `POST /webhook/stripe`, for the OpenAPI document."""

ANSWER_HEADERS: dict[str, dict[str, Any]] = {
    "x-request-id": {
        "description": "The request's id, which our logs contain.",
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "The path of the new resource.",
        "schema": {
            "type": "string",
            "format": "uri-reference",
            "examples": [
                "/chatroom/r_mfzwizltorqxg5dfon2gs3thom/message/m_mfzwizltorqxg5dfon2gs3thom_1"
            ],
        },
    },
    "ETag": {
        "description": "The version of the answer. Send this value as `If-None-Match`.",
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
        "description": "`true` if a request with this `Idempotency-Key` was answered before.",
        "schema": {"const": "true"},
    },
    "RateLimit-Policy": {
        "description": (
            "The limits that apply (draft-ietf-httpapi-ratelimit-headers): `q` requests in a"
            " window of `w` seconds."
        ),
        "schema": {"type": "string", "examples": ['"day";q=5;w=86400']},
    },
    "RateLimit": {
        "description": "For each limit: `r` remaining requests, and `t` seconds until the reset.",
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
"""Headers of answers, without general headers such as `Content-Type`."""

STATUSES = {
    200: "Done",
    201: "Created",
    202: "Accepted, but not finished yet",
    204: "Done, without content",
    304: "Nothing changed",
    503: "A dependency is down.",
}


def headers(names: Iterable[str]) -> dict[str, Any]:
    """Return a reference to each of these headers, by name; upper and lower case are equal."""
    lower = {name.lower() for name in names}
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in sorted(ANSWER_HEADERS, key=str.lower)
        if name.lower() in lower
    }
