"""The front forwards WebSockets unchanged, enforces AWS's limits, and causes faults on request."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from yarl import URL

from infra.local.cloud.gateway import Gateway
from infra.local.cloud.sockets import MAX_FRAME, MAX_MESSAGE, Limits
from infra.local.serving import serve

POSTS = "/_aws/execute-api/live1/live/@connections/c1"


class EchoServer:
    """A replacement for MiniStack with one connection, which echoes messages."""

    def __init__(self) -> None:
        self.handshakes: list[web.Request] = []
        self.posts: list[tuple[str, str, bytes]] = []
        self.ended = asyncio.Event()
        self.refuses = 0
        self._socket: web.WebSocketResponse

    def create_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/_aws/execute-api/live1/live", self._connect)
        app.router.add_route("*", "/{path:.*}", self._manage)
        return app

    async def send(self, text: str) -> None:
        await self._socket.send_str(text)

    async def close(self) -> None:
        await self._socket.close()

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        self.handshakes.append(request)
        if self.refuses:
            return web.Response(status=self.refuses)
        self._socket = web.WebSocketResponse()
        await self._socket.prepare(request)
        async for message in self._socket:
            await self._socket.send_str(message.data)
        self.ended.set()
        return self._socket

    async def _manage(self, request: web.Request) -> web.Response:
        self.posts.append((request.method, request.raw_path, await request.read()))
        return web.Response(status=200)


type Socket = aiohttp.ClientWebSocketResponse


class Front:
    """The front, and an HTTP client that is connected to it."""

    def __init__(self, behind: EchoServer, url: str, http: aiohttp.ClientSession) -> None:
        self.behind, self.url, self.http = behind, url, http

    async def connect(self, **more: Any) -> Socket:
        socket: Socket = await self.http.ws_connect(f"{self.url}/live?ticket=a%2Bb", **more)
        return socket

    async def fault(self, kind: str, **settings: Any) -> None:
        answer = await self.http.post(f"{self.url}/_faults", json={"kind": kind} | settings)
        assert answer.status == 201, await answer.text()

    async def post(self, body: bytes = b"{}", **more: Any) -> int:
        return (await self.http.post(self.url + POSTS, data=body, **more)).status


@asynccontextmanager
async def open_front(limits: Limits | None = None) -> AsyncIterator[Front]:
    behind = EchoServer()
    below, aws_url = await serve(behind.create_app())
    gateway = Gateway(aws_url, limits=limits)
    gateway.open("api1", "live1")
    above, url = await serve(gateway.create_app())
    try:
        async with aiohttp.ClientSession() as http:
            yield Front(behind, url, http)
    finally:
        await above.cleanup()
        await below.cleanup()


def in_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Return an asynchronous test as a synchronous test that fails after ten seconds."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 10))

    return run


async def text(socket: Socket) -> str:
    return str(await socket.receive_str(timeout=2))


async def read_close_code(socket: Socket) -> int | None:
    """Return the close code of the connection."""
    while (await socket.receive(timeout=5)).type is WSMsgType.TEXT:
        pass
    return socket.close_code


@in_loop
async def test_messages_are_forwarded_unchanged_in_both_directions() -> None:
    async with open_front() as front:
        socket = await front.connect(origin="https://page.example")
        [handshake] = front.behind.handshakes
        assert handshake.raw_path == "/_aws/execute-api/live1/live?ticket=a%2Bb"
        assert handshake.headers["origin"] == "https://page.example"
        await socket.send_str("née 🐘")
        assert await text(socket) == "née 🐘"
        await front.behind.send("x" * MAX_FRAME * 2)
        assert len(await text(socket)) == MAX_FRAME * 2
        await socket.close()
        await front.behind.ended.wait()


@in_loop
async def test_a_refused_handshake_keeps_its_status() -> None:
    async with open_front() as front:
        front.behind.refuses = 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await front.connect()
        assert refused.value.status == 403


@in_loop
async def test_the_clients_connection_is_closed_when_the_api_closes_it() -> None:
    async with open_front() as front:
        socket = await front.connect()
        await front.behind.close()
        assert await read_close_code(socket) == WSCloseCode.OK


@pytest.mark.parametrize(
    ("size", "code"),
    [
        (MAX_FRAME, None),
        (MAX_FRAME + 1, WSCloseCode.MESSAGE_TOO_BIG),
        (MAX_MESSAGE + 1, WSCloseCode.MESSAGE_TOO_BIG),
    ],
)
def test_a_message_of_more_than_32_kb_closes_the_connection(size: int, code: int | None) -> None:
    @in_loop
    async def run() -> None:
        async with open_front() as front:
            socket = await front.connect(max_msg_size=0)
            await socket.send_str("x" * size)
            if code is None:
                assert len(await text(socket)) == size
            else:
                assert await read_close_code(socket) == code
                await front.behind.ended.wait()

    run()


@in_loop
async def test_a_binary_message_closes_the_connection() -> None:
    async with open_front() as front:
        socket = await front.connect()
        await socket.send_bytes(b"x")
        assert await read_close_code(socket) == WSCloseCode.UNSUPPORTED_DATA


@in_loop
async def test_an_idle_connection_is_closed_and_a_message_keeps_it_open() -> None:
    async with open_front(Limits(idle=0.4)) as front:
        began = time.monotonic()
        socket = await front.connect()
        for _ in range(3):
            await asyncio.sleep(0.25)
            await socket.send_str('{"action":"ping"}')
        assert await read_close_code(socket) == WSCloseCode.GOING_AWAY
        assert time.monotonic() - began >= 1.1
        await front.behind.ended.wait()


@in_loop
async def test_a_busy_connection_also_ends_at_the_maximum_duration() -> None:
    async with open_front(Limits(idle=5, life=0.5)) as front:
        socket = await front.connect()
        ends = asyncio.create_task(read_close_code(socket))
        while not ends.done():
            await socket.send_str("x")
            await asyncio.sleep(0.05)
        assert await ends == WSCloseCode.GOING_AWAY


@in_loop
async def test_posts_are_recorded_and_forwarded_to_the_same_path() -> None:
    async with open_front() as front:
        encoded = POSTS.replace("@", "%40").replace("c1", "c1%3D")
        answer = await front.http.post(URL(front.url + encoded, encoded=True))
        assert answer.status == 200
        answer = await front.http.delete(front.url + POSTS)
        assert [(method, path) for method, path, _ in front.behind.posts] == [
            ("POST", encoded),
            ("DELETE", POSTS),
        ]
        assert await front.post(b"x" * MAX_MESSAGE) == 200
        assert await front.post(b"x" * (MAX_MESSAGE + 1)) == 413
        seen = (await (await front.http.get(f"{front.url}/_requests")).json())["requests"]
        assert [(one["connection"], one["status"]) for one in seen] == [
            ("c1=", 200),
            ("c1", 200),
            ("c1", 200),
            ("c1", 413),
        ]


@in_loop
async def test_a_fault_refuses_a_post_or_never_answers_the_post() -> None:
    async with open_front() as front:
        for status in (410, 429, 500):
            await front.fault("refuse", status=status)
            assert await front.post() == status
        await front.fault("silent", match="second")
        assert await front.post(b"first") == 200
        with pytest.raises(TimeoutError):
            await front.post(b"second", timeout=aiohttp.ClientTimeout(total=0.2))
        assert len(front.behind.posts) == 1


@in_loop
async def test_a_fault_loses_or_doubles_or_delays_a_message() -> None:
    async with open_front() as front:
        socket = await front.connect()
        await front.fault("lose", match="1")
        await front.fault("double", match="2")
        await front.fault("delay", match="3", seconds=0.2)
        for each in "12345":
            await front.behind.send(each)
        assert [await text(socket) for _ in range(5)] == ["2", "2", "4", "5", "3"]


@in_loop
async def test_a_fault_cuts_a_connection_in_place_of_a_message() -> None:
    async with open_front() as front:
        socket = await front.connect()
        await front.fault("cut", match="b")
        await front.behind.send("a")
        await front.behind.send("b")
        assert await text(socket) == "a"
        assert await read_close_code(socket) == WSCloseCode.ABNORMAL_CLOSURE
        await front.behind.ended.wait()


@in_loop
async def test_a_fault_refuses_a_new_connection() -> None:
    async with open_front() as front:
        await front.fault("refuse-connect")
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await front.connect()
        assert front.behind.handshakes == []
        await front.connect()
