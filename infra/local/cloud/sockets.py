"""The front's WebSockets: connections to MiniStack, within the limits of AWS's WebSocket APIs.

MiniStack has none of these limits. The front counts a message as one frame, since clients send
small messages. Functions post to connections through the front, which causes faults on request:

    {"kind": "refuse", "status": 410}    answer a post with this status
    {"kind": "silent"}                   never answer a post, and forward nothing
    {"kind": "lose"}                     do not send a message to its client
    {"kind": "double"}                   send a message twice
    {"kind": "delay", "seconds": 2}      send a message later; the next messages overtake it
    {"kind": "cut"}                      cut the connection instead of sending a message
    {"kind": "refuse-connect"}           refuse a new connection, as some networks do

A fault with `match` applies only to messages that contain this string; `refuse-connect` has no
`match`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import WSCloseCode, WSMsgType, web
from yarl import URL

from infra.local.standins.faults import Fault, Faults, Journal, Rule

MAX_FRAME = 32 * 1024
MAX_MESSAGE = 128 * 1024
"""API Gateway's limits for a frame and a message, in bytes."""
STAGE = "live"
SILENCE = 60.0
"""Seconds after which the fault `silent` ends a post; every caller gives up earlier."""
OF_POSTS = {"refuse", "silent"}
OF_MESSAGES = {"lose", "double", "delay", "cut"}
OF_CONNECTIONS = {"refuse-connect"}
KINDS: Mapping[str, Mapping[str, Rule]] = {
    **{kind: {} for kind in OF_POSTS | OF_MESSAGES | OF_CONNECTIONS},
    "refuse": {"status": float},
    "delay": {"seconds": float},
}
ERRORS = {
    403: "ForbiddenException",
    410: "GoneException",
    413: "PayloadTooLargeException",
    429: "LimitExceededException",
}


@dataclass(frozen=True)
class Limits:
    """A connection's longest time without a message, and its longest duration (seconds)."""

    idle: float = 600.0
    life: float = 7200.0


class _Pair:
    """A client's connection to the front, and the front's own connection to MiniStack."""

    def __init__(
        self,
        client: web.WebSocketResponse,
        behind: aiohttp.ClientWebSocketResponse,
        limits: Limits,
        faults: Faults,
    ) -> None:
        self._client = client
        self._behind = behind
        self._limits = limits
        self._faults = faults
        self._began = self._last = asyncio.get_running_loop().time()
        self._late: set[asyncio.Task[None]] = set()

    async def carry(self) -> int | None:
        """Carry messages both ways until one side closes or a limit is reached.

        Return the close code for the client, or None if a fault cuts the connection.
        """
        tasks = {asyncio.create_task(each) for each in (self._up(), self._down(), self._expire())}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in (tasks - done) | self._late:
            task.cancel()
        await asyncio.gather(*tasks, *self._late, return_exceptions=True)
        await self._behind.close()
        return done.pop().result()

    async def _up(self) -> int:
        async for message in self._client:
            self._last = asyncio.get_running_loop().time()
            if message.type is not WSMsgType.TEXT:
                return WSCloseCode.UNSUPPORTED_DATA
            if len(message.data.encode()) > MAX_FRAME:
                return WSCloseCode.MESSAGE_TOO_BIG
            await self._behind.send_str(message.data)
        return WSCloseCode.OK

    async def _down(self) -> int | None:
        async for message in self._behind:
            self._last = asyncio.get_running_loop().time()
            match self._faults.take(message.data, lambda one: one.kind in OF_MESSAGES):
                case Fault(kind="cut"):
                    return None
                case Fault(kind="lose"):
                    continue
                case Fault(kind="delay", settings=settings):
                    later = self._send_later(message.data, settings["seconds"])
                    self._late.add(asyncio.create_task(later))
                    continue
                case Fault(kind="double"):
                    await self._client.send_str(message.data)
            await self._client.send_str(message.data)
        return self._behind.close_code or WSCloseCode.OK

    async def _send_later(self, text: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._client.send_str(text)

    async def _expire(self) -> int:
        loop = asyncio.get_running_loop()
        while True:
            ends = min(self._last + self._limits.idle, self._began + self._limits.life)
            if ends <= loop.time():
                return WSCloseCode.GOING_AWAY
            await asyncio.sleep(ends - loop.time())


class Sockets:
    """The WebSocket API behind the front."""

    def __init__(self, aws_url: str, limits: Limits) -> None:
        self.faults = Faults(KINDS)
        self.journal = Journal()
        self._aws_url = aws_url
        self._limits = limits

    async def connect(
        self, request: web.Request, api_id: str, http: aiohttp.ClientSession
    ) -> web.StreamResponse:
        """Connect a client to an API, and carry messages until the connection ends."""
        if self.faults.take("", lambda one: one.kind in OF_CONNECTIONS):
            return _error(503)
        url = f"{self._aws_url}/_aws/execute-api/{api_id}/{STAGE}?{request.query_string}"
        origin = request.headers.get("origin")
        try:
            behind = await http.ws_connect(URL(url, encoded=True), origin=origin, max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            return _error(error.status)
        except aiohttp.ClientError:
            return _error(503)
        client = web.WebSocketResponse(max_msg_size=MAX_MESSAGE)
        await client.prepare(request)
        code = await _Pair(client, behind, self._limits, self.faults).carry()
        if code is None and request.transport:
            request.transport.abort()
        elif code is not None:
            await client.close(code=code)
        return client

    async def manage(self, request: web.Request, http: aiohttp.ClientSession) -> web.Response:
        """Forward a call of the @connections API, or apply a fault instead."""
        body = await request.read()
        answer = await self._answer(request, body, http)
        entry = {
            "method": request.method,
            "connection": request.match_info["connection"],
            "body": body.decode(errors="replace"),
            "status": answer.status,
        }
        self.journal.note(entry)
        return answer

    async def _answer(
        self, request: web.Request, body: bytes, http: aiohttp.ClientSession
    ) -> web.Response:
        if len(body) > MAX_MESSAGE:
            return _error(413)
        fault = None
        if request.method == "POST":
            text = body.decode(errors="replace")
            fault = self.faults.take(text, lambda one: one.kind in OF_POSTS)
        if fault and fault.kind == "silent":
            await asyncio.sleep(SILENCE)
        if fault:
            return _error(int(fault.settings.get("status", 503)))
        url = URL(self._aws_url + request.raw_path, encoded=True)
        async with http.request(request.method, url, headers=request.headers, data=body) as answer:
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() in ("content-type", "x-amzn-errortype")
            }
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


def _error(status: int) -> web.Response:
    name = ERRORS.get(status, "InternalServerErrorException")
    return web.json_response({"message": name}, status=status, headers={"x-amzn-errortype": name})
