"""The front: a server at the API's URL that forwards requests to MiniStack's API Gateway.

The front also serves WebSockets: see `sockets`.

MiniStack serves an HTTP API under a long path, without API Gateway's limits, and starts a process
for every request when no process is idle. The front gives the API a short URL, enforces API
Gateway's limits with its error messages, and forwards a limited number of requests at a time.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Collection

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from infra.local.cloud.sockets import Limits, Sockets
from infra.local.standins.faults import admin_routes

MAX_BODY = 10 * 1024 * 1024
"""API Gateway's limit for a request's body, in bytes."""
TIMEOUT = 30.0
"""API Gateway's limit for a request's duration, in seconds."""
IN_FLIGHT = 8
"""The limit of requests that are forwarded at the same time: each request may start a process."""

STAGE = "$default"
LIVE = "/live"
"""The path of WebSockets."""
CONNECTIONS = "/_aws/execute-api/{api}/live/@connections/{connection}"
"""The path at which functions post to WebSockets."""
# Headers of one connection (RFC 9110), and headers that each connection sets for itself.
HOP_BY_HOP = {
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
# Headers that MiniStack's server adds to a response.
ADDED_BY_MINISTACK = {"date", "server", "x-amz-id-2", "x-amz-request-id", "x-amzn-requestid"}
# Headers that aiohttp would add to a request.
ADDED_BY_AIOHTTP = ["accept", "accept-encoding", "content-type", "user-agent"]


class Gateway:
    """The front; it answers 503 until `open` names the APIs."""

    def __init__(
        self, aws_url: str, timeout: float = TIMEOUT, limits: Limits | None = None
    ) -> None:
        self._aws_url = aws_url
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._api_id: str | None = None
        self._live_api_id: str | None = None
        self._sockets = Sockets(aws_url, limits or Limits())
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    def open(self, api_id: str, live_api_id: str) -> None:
        """Forward requests and WebSockets to these APIs from now on."""
        self._api_id = api_id
        self._live_api_id = live_api_id

    def create_app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY, middlewares=[_too_large])
        app.add_routes(admin_routes(self._sockets.faults, self._sockets.journal))
        app.router.add_route("*", CONNECTIONS, self._manage)
        app.router.add_route("*", r"/{path:[\s\S]*}", self._forward)
        app.cleanup_ctx.append(self._connect)
        return app

    async def _connect(self, _app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as http:
            self._http = http
            yield

    async def _manage(self, request: web.Request) -> web.Response:
        return await self._sockets.manage(request, self._http)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self._api_id is None or self._live_api_id is None:
            return _message(503, "The system is still starting")
        if request.path == LIVE and request.headers.get("upgrade", "").lower() == "websocket":
            return await self._sockets.connect(request, self._live_api_id, self._http)
        target = f"{self._aws_url}/_aws/execute-api/{self._api_id}/{STAGE}{request.raw_path}"
        async with self._slots:
            try:
                async with self._http.request(
                    request.method,
                    URL(target, encoded=True),
                    headers=_request_headers(request),
                    skip_auto_headers=ADDED_BY_AIOHTTP,
                    data=io.BytesIO(body) if body else None,
                    allow_redirects=False,
                    timeout=self._timeout,
                ) as answer:
                    return _response_of(answer, await answer.read())
            except (TimeoutError, aiohttp.ClientError):
                return _message(503, "Service Unavailable")


@web.middleware
async def _too_large(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        return _message(413, "Request Entity Too Large")


def _request_headers(request: web.Request) -> CIMultiDict[str]:
    headers = _without(request.headers, HOP_BY_HOP)
    headers["x-forwarded-for"] = request.remote or "127.0.0.1"
    headers["x-forwarded-proto"] = request.scheme
    return headers


def _response_of(answer: aiohttp.ClientResponse, body: bytes) -> web.Response:
    if answer.status == 502 and _is_function_error(body):
        return _message(500, "Internal Server Error")
    headers = _without(answer.headers, HOP_BY_HOP | ADDED_BY_MINISTACK)
    return web.Response(status=answer.status, body=body, headers=headers)


def _without(headers: CIMultiDictProxy[str], names: Collection[str]) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in names
    )


def _is_function_error(body: bytes) -> bool:
    """Return whether a body is MiniStack's message about a function that raised or timed out."""
    try:
        error = json.loads(body)
    except ValueError:
        return False
    return isinstance(error, dict) and "errorMessage" in error


def _message(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
