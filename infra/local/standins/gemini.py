"""A stand-in for Google's Gemini API: models, generateContent and streamGenerateContent.

The reply follows from the request, so a test can compute the reply (`reply_to`):

    You said: What is a queue? (turn 2; before that: Hello; told: Be brief.)

`turn` counts the user's messages in the request. `before that` is the user's previous message, and
`told` is the system instruction; each is left out if the request has none. If the instruction
begins with "Title", the reply is a title with the first three words of the prompt: `Chat about What
is a`. Four characters count as one token, and `maxOutputTokens` cuts off a longer reply.

A request that names a thinking level is billed for thoughts (`THOUGHTS`) as at Google: the
thoughts count in totalTokenCount, and towards maxOutputTokens.

Faults (see faults.py; `match` is searched in the last user message; a fault with `model`
applies only to models whose id begins with this string):

    answer      any `status` (200 by default), any `body` (a string is sent as it is, other values
                as JSON) and any content type (`type`); or a list of `events` that is sent `repeat`
                times, with `pause` seconds before each event and `hold` seconds before the end
    retired     Google's 404 for a model that it no longer serves
    error       status 400, 401, 403, 404, 429, 500, 503 or 504; retryDelay ("7s") for 429 and 503
    stall       answers after `seconds` (an hour by default)
    drop        the connection breaks off in the middle of the answer
    garbage     200 with a body that is not JSON
    page        a proxy's page instead of Google's answer; `status` (502 by default), `type` (the
                content type, text/html by default)
    blocked     no candidate, promptFeedback.blockReason = `reason` (SAFETY by default)
    finish      a candidate without text, finishReason = `reason` (SAFETY by default)
    empty       no candidates at all, and no reason
    no-text     a candidate with content, but without parts
    thought     an ordinary reply after a part marked as thought, with a thoughtSignature, and
                `tokens` of thoughts (100 by default)
    max-tokens  the reply is cut off, finishReason MAX_TOKENS
"""

import asyncio
import contextlib
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from infra.local.standins.faults import Fault, Faults, Journal, Rule, admin_routes

MODEL = re.compile(r"(gemini|gemma)-[a-z0-9.-]+")
CHARACTERS_A_TOKEN = 4
JSON, EVENT_STREAM = "application/json; charset=UTF-8", "text/event-stream"
THOUGHT = "**Considering the question** The user greets me."

MODELS = (
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3.5-flash-lite",
    "gemini-3.6-flash",
    "gemini-3.7-flash",
    "gemini-3.8-flash",
    "gemini-embedding-2",
)
"""The models that the stand-in lists."""

RETIRED = (
    "This model models/{model} is no longer available to new users. Please update your code to use "
    "a newer model for the latest features and improvements."
)

# Google's error status and message by HTTP status.
ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan."),
    500: ("INTERNAL", "An internal error has occurred. Please retry."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}

# An answer has the numbers of these enumerations for google-generativeai
# ($alt=json;enum-encoding=int), and their names for other clients.
FINISH_REASONS: Mapping[str, int] = {
    "STOP": 1,
    "MAX_TOKENS": 2,
    "SAFETY": 3,
    "RECITATION": 4,
    "OTHER": 5,
    "LANGUAGE": 6,
    "BLOCKLIST": 7,
    "PROHIBITED_CONTENT": 8,
    "SPII": 9,
}
BLOCK_REASONS: Mapping[str, int] = {
    "SAFETY": 1,
    "OTHER": 2,
    "BLOCKLIST": 3,
    "PROHIBITED_CONTENT": 4,
}

THOUGHTS: Mapping[str, int] = {"minimal": 0, "low": 16, "medium": 64, "high": 256}
"""For each thinking level, the number of thought tokens that a reply is billed for."""

_OF_A_FAULT: Mapping[str, Mapping[str, Rule]] = {
    "answer": {
        "status": float,
        "body": object,
        "type": str,
        "events": list,
        "pause": float,
        "repeat": float,
        "hold": float,
    },
    "retired": {},
    "error": {"status": ERRORS, "retryDelay": str, "message": str},
    "stall": {"seconds": float},
    "drop": {},
    "garbage": {},
    "page": {"status": {*ERRORS, 502}, "type": str},
    "blocked": {"reason": BLOCK_REASONS},
    "finish": {"reason": FINISH_REASONS},
    "empty": {},
    "no-text": {},
    "thought": {"tokens": float},
    "max-tokens": {},
}
FAULTS: Mapping[str, Mapping[str, Rule]] = {
    kind: {**settings, "model": str} for kind, settings in _OF_A_FAULT.items()
}

PAGE = "<html><body>Nicht verfügbar.</body></html>".encode()

Json = dict[str, Any]


def create_app(api_key: str, delay: float = 0.0, models: Sequence[str] = MODELS) -> web.Application:
    """Return the stand-in, which lists `models`; every answer takes `delay` seconds."""
    faults, journal = Faults(FAULTS), Journal()
    stand_in = _Gemini(api_key, delay, models, faults, journal)
    app = web.Application(client_max_size=20 * 1024 * 1024)
    app.add_routes(admin_routes(faults, journal))
    app.router.add_get("/v1beta/models", stand_in.list_models)
    app.router.add_post("/v1beta/models/{call}", stand_in.answer)
    return app


def reply_to(contents: list[Json], instruction: str = "") -> str:
    """Return the reply to a conversation, as the module's docstring describes it."""
    said = [_text(content) for content in contents if content.get("role", "user") == "user"]
    if instruction.startswith("Title"):
        return " ".join(["Chat about", *said[-1].partition("\n---\n")[0].split()[:3]])
    notes = [f"turn {len(said)}"]
    if len(said) > 1:
        notes.append(f"before that: {said[-2]}")
    if instruction:
        notes.append(f"told: {instruction}")
    return f"You said: {said[-1]} ({'; '.join(notes)})"


def tokens(text: str) -> int:
    """Return the number of tokens in a text."""
    return math.ceil(len(text) / CHARACTERS_A_TOKEN)


class _Refused(Exception):
    """The error with which Google answers a request."""

    def __init__(self, status: int, message: str = "", details: list[Json] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = _error(status, message, details)


class _Gemini:
    def __init__(
        self,
        api_key: str,
        delay: float,
        models: Sequence[str],
        faults: Faults,
        journal: Journal,
    ) -> None:
        self._api_key = api_key
        self._delay = delay
        self._models = models
        self._faults = faults
        self._journal = journal

    async def list_models(self, request: web.Request) -> web.Response:
        """Answer with a page of the models that this key may use."""
        try:
            self._check_key(request)
        except _Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        first = int(request.query.get("pageToken", "0"))
        after = first + int(request.query.get("pageSize", "50"))
        page: Json = {"models": [_describe_model(name) for name in self._models[first:after]]}
        if after < len(self._models):
            page["nextPageToken"] = str(after)
        return web.json_response(page)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one call of generateContent or streamGenerateContent."""
        model, _, method = request.match_info["call"].partition(":")
        streamed = method == "streamGenerateContent"
        sse = request.query.get("alt") == "sse"

        def refuse(body: Json, status: int) -> web.Response:
            return web.json_response([body] if streamed and not sse else body, status=status)

        try:
            self._check_key(request)
            if not MODEL.fullmatch(model) or method not in (
                "generateContent",
                "streamGenerateContent",
            ):
                raise _Refused(
                    404, f"models/{model} is not found for API version v1beta, or is not supported."
                )
            asked = _parse(await request.read())
        except _Refused as refused:
            return refuse(refused.body, refused.status)

        contents, instruction = asked["contents"], _instruction(asked)
        prompt = _text(contents[-1])
        self._journal.note(
            {
                "time": time.time(),
                "model": model,
                "method": method,
                "contents": contents,
                "systemInstruction": instruction,
                "generationConfig": asked.get("generationConfig", {}),
            }
        )
        fault = self._faults.take(
            prompt, lambda fault: model.startswith(fault.settings.get("model", ""))
        )
        if fault:
            await asyncio.sleep(self._delay)
        if fault and fault.kind == "stall":
            await asyncio.sleep(fault.settings.get("seconds", 3600))
        if fault and fault.kind == "answer":
            return await _send_described(request, fault.settings, streamed=streamed)
        if fault and fault.kind == "retired":
            return refuse(_error(404, RETIRED.format(model=model), None), 404)
        if fault and fault.kind == "error":
            status = fault.settings.get("status", 503)
            return refuse(_fault_error(fault, status), status)
        if fault and fault.kind == "page":
            status = fault.settings.get("status", 502)
            kind = fault.settings.get("type", "text/html")
            return web.Response(body=PAGE, status=status, content_type=kind)

        answer = _answer(asked, model, fault)
        if "enum-encoding=int" in request.query.get("$alt", ""):
            answer = _number_enums(answer)
        if sse:
            body = [_event(chunk) for chunk in _cut(answer)]
        elif streamed:
            body = _array(_cut(answer))
        else:
            body = [json.dumps(answer, indent=2).encode()]
        if fault and fault.kind == "garbage":
            body = [b"<html>temporarily unavailable</html>"]
        kind = EVENT_STREAM if sse else JSON
        dropped = bool(fault and fault.kind == "drop")
        pause = 0 if fault else self._delay / len(body)
        return await _send(request, body, kind, dropped=dropped, pause=pause)

    def _check_key(self, request: web.Request) -> None:
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not key:
            raise _Refused(
                403,
                "Method doesn't allow unregistered callers (callers without established identity). "
                "Please use API Key or other form of API consumer identity to call this API.",
            )
        if key != self._api_key:
            info = _details("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")
            raise _Refused(400, "API key not valid. Please pass a valid API key.", [info])


def _parse(body: bytes) -> Json:
    """Return a request's JSON. Raises _Refused if Google would reject its contents."""
    try:
        asked: Json = json.loads(body)
        contents = asked.get("contents")
        if not contents:
            raise _Refused(400, "* GenerateContentRequest.contents: contents is not specified\n")
        roles = [content.get("role", "user") for content in contents]
        texts = [_text(content) for content in contents]
    except (ValueError, TypeError, AttributeError) as error:
        raise _Refused(400, "Invalid JSON payload received.") from error
    if not set(roles) <= {"user", "model"}:
        raise _Refused(400, "Please use a valid role: user, model.")
    if not all(texts):
        raise _Refused(
            400, "* GenerateContentRequest.contents.parts: contents.parts must not be empty.\n"
        )
    if roles[-1] != "user":
        raise _Refused(
            400,
            "Please ensure that multiturn requests end with a user role or a function response.",
        )
    return asked


def _answer(asked: Json, model: str, fault: Fault | None) -> Json:
    contents, instruction = asked["contents"], _instruction(asked)
    spent = sum(tokens(_text(content)) for content in contents) + tokens(instruction)
    kind = fault.kind if fault else ""
    usage = {"promptTokenCount": spent, "totalTokenCount": spent}
    answer: Json = {"usageMetadata": usage, "modelVersion": model, "responseId": "stand-in"}

    if kind == "blocked" and fault:
        answer["promptFeedback"] = {"blockReason": fault.settings.get("reason", "SAFETY")}
        return answer
    if kind == "empty":
        return answer
    if kind == "finish" and fault:
        answer["candidates"] = [
            {"finishReason": fault.settings.get("reason", "SAFETY"), "index": 0}
        ]
        return answer
    if kind == "no-text":
        answer["candidates"] = [
            {"content": {"role": "model"}, "finishReason": "STOP", "index": 0},
        ]
        return answer

    text, finish = reply_to(contents, instruction), "STOP"
    config = asked.get("generationConfig", {})
    thoughts = THOUGHTS.get(config.get("thinkingConfig", {}).get("thinkingLevel"), 0)
    if kind == "thought" and fault:
        thoughts = fault.settings.get("tokens", 100)
    limit = config.get("maxOutputTokens")
    if kind == "max-tokens":
        limit = thoughts + max(1, tokens(text) // 2)
    if limit is not None and thoughts + tokens(text) > limit:
        thoughts = min(thoughts, limit)
        text, finish = text[: (limit - thoughts) * CHARACTERS_A_TOKEN], "MAX_TOKENS"
    parts: list[Json] = [{"text": text}] if text else []
    if kind == "thought":
        parts.insert(0, {"text": THOUGHT, "thought": True, "thoughtSignature": "c3RhbmQtaW4="})
    content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    answer["candidates"] = [{"content": content, "finishReason": finish, "index": 0}]
    if text:
        usage["candidatesTokenCount"] = tokens(text)
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    usage["totalTokenCount"] = spent + thoughts + tokens(text)
    return answer


def _cut(answer: Json) -> list[Json]:
    """Return the answer as a stream: the text in three chunks, the usage in the last chunk."""
    candidates = answer.get("candidates", [])
    parts = candidates[0].get("content", {}).get("parts", []) if candidates else []
    text = parts[-1].get("text", "") if parts else ""
    if len(text) < 3:
        return [answer]
    third = len(text) // 3
    pieces = [text[:third], text[third : 2 * third], text[2 * third :]]
    chunks: list[Json] = []
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        before = parts[:-1] if number == 0 else []
        content = {"parts": [*before, {"text": piece}], "role": "model"}
        candidate = {"content": content, "index": 0}
        if last:
            candidate["finishReason"] = candidates[0]["finishReason"]
        chunk = {key: value for key, value in answer.items() if key != "usageMetadata" or last}
        chunks.append({**chunk, "candidates": [candidate]})
    return chunks


def _array(chunks: list[Json]) -> list[bytes]:
    bodies = [json.dumps(chunk, indent=2).encode() for chunk in chunks]
    return [b"[" + bodies[0], *(b"\n,\r\n" + body for body in bodies[1:]), b"\n]"]


def _event(chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n"


async def _send(
    request: web.Request, body: list[bytes], kind: str, *, dropped: bool, pause: float
) -> web.StreamResponse:
    """Send the parts of an answer, with a pause (in seconds) before each part."""
    response = web.StreamResponse(headers={"content-type": kind})
    if len(body) == 1:
        response.content_length = len(body[0])
    with contextlib.suppress(ConnectionError):  # the client has gone
        await response.prepare(request)
        if dropped:
            await response.write(body[0] if len(body) > 1 else body[0][: len(body[0]) // 2])
            if request.transport:
                request.transport.close()
            return response
        for piece in body:
            await asyncio.sleep(pause)
            await response.write(piece)
        await response.write_eof()
    return response


async def _send_described(
    request: web.Request, settings: Mapping[str, Any], *, streamed: bool
) -> web.StreamResponse:
    """Send the answer of an `answer` fault, with the pauses in its settings."""
    events = settings.get("events")
    sse = request.query.get("alt") == "sse"
    usual = EVENT_STREAM if sse and events else JSON
    response = web.StreamResponse(
        status=int(settings.get("status", 200)),
        headers={"content-type": settings.get("type", usual)},
    )
    with contextlib.suppress(ConnectionError):  # the client has gone
        await response.prepare(request)
        if events is None:
            body = settings.get("body", "")
            await response.write((body if isinstance(body, str) else json.dumps(body)).encode())
        else:
            sent = 0
            for _ in range(int(settings.get("repeat", 1))):
                for event in events:
                    await asyncio.sleep(settings.get("pause", 0))
                    before = (b"," if sent else b"[") if streamed and not sse else b""
                    await response.write(
                        _event(event) if sse else before + json.dumps(event).encode()
                    )
                    sent += 1
            if streamed and not sse:
                await response.write(b"]")
        await asyncio.sleep(settings.get("hold", 0))
        await response.write_eof()
    return response


def _describe_model(model: str) -> Json:
    """Return a model's entry in Google's list."""
    methods = ["embedContent"] if "embedding" in model else ["generateContent", "countTokens"]
    return {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model.replace("-", " ").title(),
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": methods,
    }


def _fault_error(fault: Fault, status: int) -> Json:
    delay = fault.settings.get("retryDelay")
    details = [_details("RetryInfo", retryDelay=delay)] if delay is not None else []
    return _error(status, fault.settings.get("message", ""), details)


def _error(status: int, message: str, details: list[Json] | None) -> Json:
    name, usual = ERRORS.get(status, ("UNKNOWN", "Unknown error"))
    error: Json = {"code": status, "message": message or usual, "status": name}
    if details:
        error["details"] = details
    return {"error": error}


def _details(kind: str, **fields: Any) -> Json:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def _instruction(asked: Json) -> str:
    return _text(asked.get("systemInstruction") or asked.get("system_instruction") or {})


def _text(content: Json) -> str:
    return "".join(part.get("text", "") for part in content.get("parts", []))


def _number_enums(answer: Json) -> Json:
    """Return the answer with its enumerations as numbers."""
    candidates = [
        {**candidate, "finishReason": FINISH_REASONS[candidate["finishReason"]]}
        for candidate in answer.get("candidates", [])
    ]
    numbered = {**answer}
    if candidates:
        numbered["candidates"] = candidates
    if "promptFeedback" in answer:
        reason = answer["promptFeedback"]["blockReason"]
        numbered["promptFeedback"] = {"blockReason": BLOCK_REASONS[reason]}
    return numbered
