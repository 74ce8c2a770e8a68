"""The example readers in the documentation show the right text with and without sockets."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from functions.docs_asset import live_reader
from geminichat.domain.live import TextFrame, encode, skip_units, utf16_length
from infra.local.serving import serve
from infra.paths import ROOT
from tests.support.reader_rule import beginning

REPLIES = [
    "",
    *("".join(f"{word}{n}🐘 " for n in range(count)) for word, count in (("ä", 20), ("ö", 80))),
]
"""The texts of the attempts of one reply; the first attempt breaks off, the second is stored."""
SCRIPT = """
import {{ watch }} from {module!r};
async function call(method, path) {{
  const answer = await fetch({url!r} + path, {{ method }});
  return (await answer.json()).data;
}}
const show = (text) => console.log(JSON.stringify(text));
const prompt = await watch(call, "r", "m", show);
console.log(JSON.stringify(prompt.reply.content));
"""


class Server:
    """An API with one growing reply; its sockets lose, double and reorder frames."""

    def __init__(self, way: str) -> None:
        self.way, self.random = way, random.Random(1)
        self.attempt, self.text, self.status = 1, "", "queued"
        self.sockets: list[web.WebSocketResponse] = []
        self.opened = 0
        self.asked = asyncio.Event()

    def create_app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/chatroom/r/message/m", self._look)
        app.router.add_post("/live", self._open)
        app.router.add_get("/live", self._connect)
        return app

    async def grow(self) -> None:
        """Grow the attempts' texts piece by piece, then store the reply."""
        await self.asked.wait()
        self.status = "generating"
        for self.attempt, whole in enumerate(REPLIES[1:], 1):
            for length in range(1, len(whole) + 1, 7):
                before, self.text = self.text, whole[:length]
                await self._send(before)
                await asyncio.sleep(0.02)
        self.status = "answered"
        await self._post(json.dumps({"type": "ended", "messageId": "m", "status": "answered"}))

    async def _send(self, before: str) -> None:
        common = beginning(before, utf16_length(before)) if self.text.startswith(before) else ""
        start = utf16_length(common)
        text = skip_units(self.text, start)
        frame = TextFrame(message_id="m", attempt=self.attempt, start=start, text=text)
        await self._post(encode(frame).decode())

    async def _post(self, frame: str) -> None:
        if self.way == "cut" and self.random.random() < 0.1:
            for socket in self.sockets:
                await socket.close()
        for _ in range(self.random.choice([0, 1, 1, 2])):
            asyncio.get_running_loop().call_later(
                self.random.uniform(0, 0.03), lambda: asyncio.ensure_future(self._deliver(frame))
            )

    async def _deliver(self, frame: str) -> None:
        for socket in self.sockets:
            if not socket.closed:
                await socket.send_str('{"type": "room", "chatroomId": "r"}')
                await socket.send_str(frame)

    async def _look(self, request: web.Request) -> web.Response:
        self.asked.set()
        start = int(request.query["from"])
        prompt: dict[str, Any] = {"id": "m", "status": self.status}
        if self.status == "generating":
            text = skip_units(self.text, start)
            prompt["partial"] = {"attempt": self.attempt, "from": start, "text": text}
        if self.status == "answered":
            prompt["reply"] = {"content": REPLIES[-1]}
        return web.json_response({"data": prompt})

    async def _open(self, request: web.Request) -> web.Response:
        self.opened += 1
        url = f"ws://{request.host}/live?ticket=t"
        return web.json_response({"data": {"url": url, "expiresIn": 60, "pingAfter": 300}})

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if self.way == "refused":
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for _ in socket:
            pass
        return socket


@asynccontextmanager
async def serve_api(server: Server) -> AsyncIterator[str]:
    runner, url = await serve(server.create_app())
    growing = asyncio.create_task(server.grow())
    try:
        yield url
        await growing
    finally:
        await runner.cleanup()


async def read_in_python(server: Server) -> list[str]:
    """Return the texts that the reader in Python shows; the last one is the stored reply."""
    shown: list[str] = []
    async with serve_api(server) as url, aiohttp.ClientSession(url) as http:
        prompt = await live_reader.watch(http, "r", "m", shown.append)
    return [*shown, prompt["reply"]["content"]]


async def read_in_javascript(server: Server) -> list[str]:
    """Return the texts that the reader in JavaScript shows; the last one is the stored reply."""
    module = str(ROOT / "functions" / "docs_asset" / "live_reader.js")
    async with serve_api(server) as url:
        node = await asyncio.create_subprocess_exec(
            "node",
            "--no-warnings",
            "--experimental-websocket",
            "--experimental-default-type=module",
            "--input-type=module",
            "--eval",
            SCRIPT.format(module=module, url=url),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await node.communicate()
    return [json.loads(line) for line in output.decode().splitlines()]


@pytest.mark.parametrize(
    "reader", [read_in_python, read_in_javascript], ids=["Python", "JavaScript"]
)
@pytest.mark.parametrize("way", ["lossy", "cut", "refused"])
def test_an_example_reader_shows_only_beginnings_of_the_reply_and_finally_the_whole_reply(
    reader: Any, way: str
) -> None:
    server = Server(way)
    *shown, stored = asyncio.run(asyncio.wait_for(reader(server), 30))
    assert stored == REPLIES[-1]
    places = [(n, len(text)) for text in shown for n in (1, 2) if REPLIES[n].startswith(text)]
    assert len(places) == len(shown), "each text is the beginning of an attempt's text"
    assert places == sorted(set(places)), "no earlier attempt is shown again, and texts only grow"
    assert len(shown) > (20 if way == "lossy" else 0)
    assert server.opened > 1 or way == "lossy"
