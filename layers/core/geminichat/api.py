"""The HTTP edge: turn API Gateway's event into a Request, and a handler's Response into an answer.

`@endpoint` authenticates the caller unless `public=True`. It turns an AppError into problem+json
(RFC 9457), and any other exception into a 500 that tells the caller only the request id. `within`
limits the total seconds of a request's network calls. Without `within`, the deadlines of single
calls could add up to more time than a caller waits.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import base64
import binascii
import functools
import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from geminichat import config
from geminichat.domain import cursors, ids, reads
from geminichat.domain.sessions import Claims, OpenSession, OptionalCaller
from geminichat.errors import (
    PROBLEM_TYPE,
    AppError,
    BodyTooLarge,
    FieldProblem,
    InvalidField,
    InvalidRequest,
    NotFound,
    TooManyRequests,
    Unauthorized,
    UnsupportedMedia,
)
from geminichat.runtime import deadlines, log

if TYPE_CHECKING:
    from geminichat.domain.tokens import Tokens

MAX_BODY = 256 * 1024
"""Bytes of the largest request body; the longest prompt fits, even with every character escaped."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MAX_PAGE = 100
DEFAULT_PAGE = 20

type Event = dict[str, Any]


class Request(msgspec.Struct, frozen=True):
    """An HTTP request; its methods parse and validate the parts that a handler needs."""

    id: str
    method: str
    route: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    now: datetime
    source: str
    """The caller's IP address."""
    raw: bytes | None
    """The body's bytes; None if it could not be decoded."""
    claims: Claims | None = None

    @property
    def user_id(self) -> str:
        """The user of the request's access token."""
        return self.caller.user_id

    @property
    def origin(self) -> str:
        """The scheme and host of the URL that the caller requested."""
        scheme = self.headers.get("x-forwarded-proto", "https")
        return f"{scheme}://{self.headers.get('host', 'localhost')}"

    @property
    def caller(self) -> Claims:
        """The user and the session of the access token that came with the request."""
        if self.claims is None:
            raise RuntimeError("A public endpoint has no authenticated caller.")
        return self.claims

    def body[T](self, kind: type[T], *, optional: bool = False) -> T:
        """Parse the JSON body into a struct of the type `kind`.

        If the body is `optional` and missing, return the struct's defaults. Raises InvalidRequest,
        BodyTooLarge, UnsupportedMedia.
        """
        if self.raw is None:
            raise InvalidRequest("The body is not valid base64.")
        if len(self.raw) > MAX_BODY:
            raise BodyTooLarge(f"A body may have at most {MAX_BODY // 1024} KiB.")
        if not self.raw and optional:
            return kind()
        if not self.raw:
            raise InvalidRequest("The body is empty. Send one JSON object.")
        if not _is_json(self.headers.get("content-type", "application/json")):
            raise UnsupportedMedia("Send the body as 'content-type: application/json'.")
        return parse_json(self.raw, kind)

    def limit(self) -> int:
        """Return `?limit=`, 1 to 100; 20 if it is missing. Raises InvalidRequest."""
        text = self.query.get("limit", str(DEFAULT_PAGE))
        if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= MAX_PAGE:
            raise InvalidRequest(f"The parameter 'limit' must be a number from 1 to {MAX_PAGE}.")
        return int(text)

    def idempotency_key(self) -> str | None:
        """Return the Idempotency-Key header; None if it is missing. Raises InvalidRequest."""
        key = self.headers.get("idempotency-key")
        if key is not None and not re.fullmatch(r"[!-~]{1,255}", key):
            raise InvalidRequest("An Idempotency-Key must have 1 to 255 visible ASCII characters.")
        return key

    def page[T](self, scope: str, kind: type[T]) -> tuple[int, T | None]:
        """Return `?limit=` and the position in `?cursor=`; the position is None for the first page.

        `scope` names the list. Raises InvalidRequest for a cursor of another list or another user.
        """
        cursor = self.query.get("cursor")
        if cursor is None:
            return self.limit(), None
        keys = config.signing_keys().keys
        return self.limit(), cursors.read(cursor, kind, f"{self.user_id} {scope}", keys)

    def after(self, room_id: str) -> int:
        """Return the position of the message that `?after=` names, or 0 if it is missing.

        Raises InvalidRequest.
        """
        try:
            return ids.message_seq(room_id, self.query["after"]) if "after" in self.query else 0
        except NotFound:
            raise InvalidRequest(
                "The parameter 'after' must be the id of a message in this room."
            ) from None

    def start(self) -> int | None:
        """Return `?from=`, an offset in a text; None if it is missing. Raises InvalidRequest."""
        text = self.query.get("from")
        if text is not None and not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
            raise InvalidRequest("The parameter 'from' must be a number from 0 to 999999999.")
        return None if text is None else int(text)

    def cursor(self, scope: str, position: object) -> str | None:
        """Return a signed cursor that holds `position`, or None if `position` is None."""
        if position is None:
            return None
        signing = config.signing_keys()
        key = signing.keys[signing.current]
        return cursors.write(position, f"{self.user_id} {scope}", signing.current, key)

    def tokens(self, session: OpenSession) -> "Tokens":
        """Return the session's access token, refresh token and device token."""
        from geminichat import access_tokens
        from geminichat.domain import devices
        from geminichat.domain.tokens import Tokens

        signing, refresh = config.signing_keys(), session.refresh
        key = signing.keys[signing.current]
        access_token = access_tokens.issue(
            Claims(refresh.user_id, refresh.session_id),
            signing.current,
            key,
            session.issued_at,
            token_id=refresh.access_token_id,
        )
        device_token = devices.token_of(
            refresh.user_id, refresh.session_id, session.devices_since, key
        )
        return Tokens.pair(session, access_token, device_token, self.now)

    def optional_caller(self) -> OptionalCaller | None:
        """Return the caller's session if a public request has an access token, else None.

        An expired token still names its session. An invalid token is ignored, because old clients
        may send one with every request.
        """
        from geminichat import access_tokens

        try:
            claims = _authenticate(self).caller
        except access_tokens.Expired as error:
            return OptionalCaller(error.session.user_id, error.session.session_id, is_expired=True)
        except Unauthorized:
            return None
        return OptionalCaller(claims.user_id, claims.session_id)


class Response[T = None](msgspec.Struct, frozen=True):
    """An answer; `data` is a msgspec struct or None, `body` replaces the whole JSON envelope.

    Use `body` only for a few fixed documents: a sandbox caches the ETag and encoding of each. The
    OpenAPI document reads the type of `data` from the handler's return annotation.
    """

    status: int
    message: str = ""
    data: T | None = None
    headers: Mapping[str, str] = {}
    body: str | bytes | None = None
    extensions: Mapping[str, Any] = {}


def ok[T](
    data: T,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    **extensions: Any,
) -> Response[T]:
    """Return a 200 with the resource and one sentence for a person."""
    return Response(200, message, data, headers or {}, extensions=extensions)


def created[T](data: T, message: str, *, headers: Mapping[str, str] | None = None) -> Response[T]:
    """Return a 201 with the new resource."""
    return Response(201, message, data, headers or {})


def accepted[T](data: T, message: str, *, headers: Mapping[str, str] | None = None) -> Response[T]:
    """Return a 202: accepted, not done yet."""
    return Response(202, message, data, headers or {})


def no_content() -> Response:
    """Return a 204."""
    return Response(204)


def document(text: str, headers: Mapping[str, str], request: Request) -> Response:
    """Return the text, gzipped if the client accepts gzip, or a 304 if the client has the text."""
    headers = {**headers, "vary": "accept-encoding"}
    codings = request.headers.get("accept-encoding", "").lower()
    if not re.search(r"\bgzip\b(?!\s*;\s*q=0)", codings):
        return add_etag(Response(200, headers=headers, body=text), request)
    headers["content-encoding"] = "gzip"
    return add_etag(Response(200, headers=headers, body=_gzip(text)), request)


@functools.cache
def _gzip(text: str) -> bytes:
    import gzip  # most functions do not need it

    return gzip.compress(text.encode(), mtime=0)


def add_etag[T](response: Response[T], request: Request) -> Response[T]:
    """Return the response with an ETag, or a 304 if `If-None-Match` names it (RFC 9110, 13.1.2)."""
    if response.body is None:
        etag = _etag(msgspec.json.encode(response.data))
    else:
        etag = _document_etag(response.body)
    headers = {"cache-control": "private, no-cache", **response.headers, "etag": etag}
    asked = request.headers.get("if-none-match", "")
    known = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
    if etag in known or asked.strip() == "*":
        return Response(304, headers=headers)
    return replace(response, headers=headers)


def _etag(shown: bytes) -> str:
    return f'"{hashlib.blake2b(shown, digest_size=16).hexdigest()}"'


@functools.cache
def _document_etag(body: str | bytes) -> str:
    return _etag(body.encode() if isinstance(body, str) else body)


@functools.cache
def _document_base64(body: bytes) -> str:
    return base64.b64encode(body).decode()


SECURITY_HEADERS = {
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
}
"""The headers of every answer."""

NO_STORE: Mapping[str, str] = {"cache-control": "no-store"}
"""Headers of answers that carry tokens or codes."""


def endpoint(
    handler: Callable[[Request], Response[Any]] | None = None,
    *,
    public: bool = False,
    errors: Sequence[type[AppError]] = (),
    within: float = math.inf,
) -> Callable[..., Any]:
    """Turn a function from Request to Response into a Lambda handler.

    `errors` declares the errors that the endpoint can answer, for the OpenAPI document and the
    tests. infra/openapi/endpoints.py adds the errors that all endpoints of the same kind have.
    """
    if handler is None:
        return functools.partial(endpoint, public=public, errors=errors, within=within)
    if not public:
        import geminichat.access_tokens  # noqa: F401  at the cold start, not in the first request

    @functools.wraps(handler)
    def answer(event: Event, context: Any = None) -> dict[str, Any]:
        began, cold_start = time.perf_counter(), _is_first_call()
        context_of = event.get("requestContext") or {}
        request_id = str(context_of.get("requestId") or getattr(context, "aws_request_id", "-"))
        user_id = problem = None
        try:
            request = _read(event, request_id)
            if not public:
                request = _authenticate(request)
                user_id = request.user_id
                if request.method == "GET":
                    _limit_reads(request)
            with deadlines.within(within):
                reply = _success(handler(request), request_id)
        except AppError as error:
            problem = error.code
            reply = problem_answer(error, request_id)
        except Exception:
            log.exception("unhandled error", request_id=request_id)
            reply = problem_answer(AppError("Something went wrong on our side."), request_id)
        if event.get("routeKey", "").startswith("HEAD "):
            reply.pop("body", None)
            reply.pop("isBase64Encoded", None)
        reply["headers"] = SECURITY_HEADERS | reply["headers"]
        if not public:
            reply["headers"].setdefault("cache-control", "no-store")
        log.info(
            "request",
            request_id=request_id,
            route=event.get("routeKey"),
            status=reply["statusCode"],
            problem=problem,
            milliseconds=round((time.perf_counter() - began) * 1000),
            cold_start=cold_start,
            user_id=user_id,
            **_room_of(event),
        )
        return reply

    vars(answer).update(public=public, errors=tuple(errors))
    return answer


_called = False


def _is_first_call() -> bool:
    """Return whether this is the sandbox's first request."""
    global _called
    called, _called = _called, True
    return not called


def parse_json[T](raw: bytes, kind: type[T]) -> T:
    """Parse JSON into the type `kind`. Raises InvalidRequest with a pointer to the problem."""
    try:
        raw = raw.removeprefix(BYTE_ORDER_MARK)  # as RFC 8259, 8.1, allows
        raw.decode()
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        problem = _field_problem(error)
        where = f"{problem.pointer}: " if problem.pointer else ""
        raise InvalidRequest(
            f"The request body is invalid. {where}{problem.detail}.", errors=[problem]
        ) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidRequest(
            "The body is not valid JSON.",
            errors=[FieldProblem("", "Expected one JSON object")],
        ) from error


def _field_problem(error: msgspec.ValidationError) -> FieldProblem:
    """Return msgspec's message "… - at `$.a[0].b`" as a pointer and a sentence."""
    detail, _, place = str(error).partition(" - at `")
    pointer = re.sub(r"\[(\d+|\.\.\.)\]", r"/\1", place.rstrip("`").removeprefix("$"))
    pointer = pointer.replace(".", "/")
    if isinstance(error.__cause__, InvalidField):
        return FieldProblem(f"{pointer}/{error.__cause__.name}", detail)
    named = re.search(r"(?:unknown|required) field `([^`]*)`", detail)
    if named:
        escaped = named[1].replace("~", "~0").replace("/", "~1")
        pointer = f"{pointer}/{escaped[:100]}"
        detail = "Unknown field" if "unknown" in detail else "This field is required"
    return FieldProblem(pointer, re.sub(r"`([^`]*)`", _json_types, detail)[:200])


def _json_types(types: re.Match[str]) -> str:
    """Return msgspec's "`str | null`" in JSON Schema's words: "string or null"."""
    return " or ".join(_JSON_TYPES.get(name, name) for name in types[1].split(" | "))


_JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def _read(event: Event, request_id: str) -> Request:
    context = event.get("requestContext") or {}
    http = context.get("http") or {}
    epoch = context.get("timeEpoch")
    now = datetime.fromtimestamp(epoch / 1000, UTC) if epoch else datetime.now(UTC)
    body: str = event.get("body") or ""
    raw: bytes | None
    if event.get("isBase64Encoded"):
        try:
            raw = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raw = None
    else:
        raw = body.encode("utf-8", "surrogatepass")
    return Request(
        id=request_id,
        method=str(http.get("method", "")),
        route=str(event.get("routeKey", "")),
        path=event.get("pathParameters") or {},
        query={
            name: value
            for name, value in (event.get("queryStringParameters") or {}).items()
            if value  # an empty one counts as absent
        },
        headers={name.lower(): value for name, value in (event.get("headers") or {}).items()},
        now=now,
        source=str(http.get("sourceIp", "")),
        raw=raw,
    )


def _authenticate(request: Request) -> Request:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized()
    from geminichat import access_tokens

    claims = access_tokens.verify(token.strip(), config.signing_keys().keys, request.now)
    return replace(request, claims=claims)


_reads = reads.ReadCounts()


def _limit_reads(request: Request) -> None:
    """Count a GET request of a user. Raises TooManyRequests above the limit."""
    if seconds := _reads.count(request.user_id, request.now):
        raise TooManyRequests(
            f"At most {reads.READS} GET requests are answered per minute. "
            f"Try again in {seconds} s.",
            retry_after=seconds,
            headers={
                "ratelimit-policy": f'"reads";q={reads.READS};w={reads.WINDOW}',
                "ratelimit": f'"reads";r=0;t={seconds}',
            },
        )


def _is_json(content_type: str) -> bool:
    """Return whether a content type is JSON in UTF-8 (RFC 8259; RFC 6839 for `+json`)."""
    if "," in content_type:  # API Gateway joins a header that was sent twice
        return all(_is_json(one) for one in content_type.split(","))
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            return False
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _success(response: Response[Any], request_id: str) -> dict[str, Any]:
    headers = {"x-request-id": request_id, **response.headers}
    answer = {"statusCode": response.status, "headers": headers}
    if isinstance(response.body, bytes):
        return {**answer, "body": _document_base64(response.body), "isBase64Encoded": True}
    if response.body is not None:
        return {**answer, "body": response.body}
    if response.status in (204, 304):
        return answer
    envelope = {
        "success": response.status < 400,
        "message": response.message,
        "data": response.data,
        **response.extensions,
    }
    headers.setdefault("content-type", "application/json")
    return {**answer, "body": msgspec.json.encode(envelope).decode()}


def problem_answer(error: AppError, request_id: str) -> dict[str, Any]:
    """Return the problem+json answer to an error, in API Gateway's format."""
    problem: dict[str, Any] = {
        "type": PROBLEM_TYPE + error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": request_id,
        "success": False,
        "message": error.detail,
        **error.extensions,
    }
    if error.errors:
        problem["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in error.errors]
    return {
        "statusCode": error.status,
        "headers": {
            "content-type": "application/problem+json",
            "x-request-id": request_id,
            **error.headers,
        },
        "body": msgspec.json.encode(problem).decode(),
    }


def _room_of(event: Event) -> dict[str, str]:
    if "/chatroom/{id}" not in str(event.get("routeKey")):
        return {}
    return {"chatroom_id": str((event.get("pathParameters") or {}).get("id"))[:64]}
