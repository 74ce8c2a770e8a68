"""Live replies over real WebSockets, with shorter limits than those of AWS."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError

from functions.docs_asset import live_reader
from infra.local.cloud.gateway import Gateway
from infra.local.cloud.sockets import Limits
from infra.local.serving import serve
from infra.paths import ROOT
from tests.support.deployed import RunningStack
from tests.support.gemini_events import whole
from tests.support.person import OTHER_PASSWORD, PASSWORD, Person
from tests.support.standins import StandIn

SHORT = Limits(idle=2, life=5)
USERS, FRAMES = 4, 20
"""LIVE_USERS and LIVE_FRAMES set other numbers; a run by hand used 20 and 500."""


def reply_slowly(stack: RunningStack, seconds: float, match: str) -> str:
    """Make Gemini's stand-in send its reply piece by piece; return the whole reply."""
    texts = [f"piece {number} 🐘 " for number in range(round(seconds * 4))]
    stack.gemini.fault("answer", events=whole(texts), pause=0.25, match=match)
    return "".join(texts).strip()


@asynccontextmanager
async def serve_front(stack: RunningStack, limits: Limits) -> AsyncIterator[str]:
    """Serve a second front of the system with these limits, and yield its URL."""
    gateway = Gateway(stack.description.aws.endpoint_url, limits=limits)
    gateway.open(stack.description.api_id, stack.description.live_api_id)
    runner, url = await serve(gateway.create_app())
    try:
        yield url
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("how", ["over sockets", "without Redis", "by polling"])
def test_a_long_reply_arrives_whole_over_several_short_connections(
    stack: RunningStack, how: str
) -> None:
    ann = stack.new_proven_user()
    room = ann.open_room()
    seconds = float(os.environ.get("LIVE_REPLY_SECONDS", "6"))
    expected = reply_slowly(stack, seconds, match=how)
    message = ann.ask(room, f"Tell me {how}")
    if how == "without Redis":
        stack.kill_redis()
    shown: list[str] = []

    async def watch() -> dict[str, Any]:
        async with serve_front(stack, SHORT) as url:
            control = StandIn(url)
            if how == "by polling":
                await asyncio.to_thread(lambda: control.fault("refuse-connect", times="always"))
            async with aiohttp.ClientSession(url, headers=ann.headers) as http:
                return await live_reader.watch(http, room, message, shown.append)

    prompt = asyncio.run(asyncio.wait_for(watch(), seconds + 40))
    assert prompt["status"] == "answered"
    assert prompt["reply"]["content"] == expected
    assert all(expected.startswith(text.strip()) for text in shown)
    assert [len(text) for text in shown] == sorted({len(text) for text in shown})
    assert len(shown) >= 2, "the reply did not grow"


async def request_address(http: aiohttp.ClientSession, person: Person) -> str:
    async with http.post("/live", headers=person.headers) as answer:
        assert answer.status == 200
        return str((await answer.json())["data"]["url"])


def list_connections(stack: RunningStack, person: Person) -> list[str]:
    """Return the ids of a user's connections, the oldest first."""
    table = stack.description.tables["LiveTable"]
    answer = stack.aws("dynamodb").get_item(TableName=table, Key={"user_id": {"S": person.id}})
    found = answer.get("Item", {}).get("connections", {}).get("M", {})
    return sorted(found, key=lambda one: int(found[one]["M"]["opened"]["N"]))


def open_connections_api(stack: RunningStack) -> Any:
    """Return a client of the @connections API with the credentials of the root user."""
    import boto3

    aws, live = stack.description.aws, stack.description.live_api_id
    return boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=f"{stack.url}/_aws/execute-api/{live}/live",
        region_name=aws.region,
        aws_access_key_id=aws.access_key_id,
        aws_secret_access_key=aws.secret_access_key,
    )


def test_each_frame_reaches_only_its_recipient(
    stack: RunningStack,
) -> None:
    users = int(os.environ.get("LIVE_USERS", USERS))
    frames = int(os.environ.get("LIVE_FRAMES", FRAMES))
    people = [stack.new_user() for _ in range(users)]
    api = open_connections_api(stack)

    async def run() -> None:
        async with aiohttp.ClientSession(stack.url) as http:
            sockets = [await http.ws_connect(await request_address(http, one)) for one in people]
            ids = [list_connections(stack, one)[-1] for one in people]
            assert len(set(ids)) == users

            def post() -> None:
                for number in range(frames):
                    for person, connection_id in zip(people, ids, strict=True):
                        body = json.dumps({"for": person.id, "number": number}).encode()
                        api.post_to_connection(ConnectionId=connection_id, Data=body)

            posting = asyncio.create_task(asyncio.to_thread(post))
            for number in range(frames):
                for person, socket in zip(people, sockets, strict=True):
                    frame = await socket.receive_json(timeout=60)
                    assert frame == {"for": person.id, "number": number}
            await posting
            for socket in sockets:
                with pytest.raises(TimeoutError):
                    await socket.receive(timeout=0.05)
                await socket.close()

    asyncio.run(run())


@pytest.mark.parametrize("how", ["logout", "password", "deletion"])
def test_a_session_receives_no_more_frames_two_seconds_after_its_end(
    stack: RunningStack, how: str
) -> None:
    ann = stack.new_user()
    room = ann.open_room()
    reply_slowly(stack, 7, match=how)  # a later prompt of the room waits for this reply

    def end() -> None:
        match how:
            case "logout":
                assert ann.post("/auth/logout").status == 200
            case "password":
                body = {"newPassword": OTHER_PASSWORD, "currentPassword": PASSWORD}
                assert ann.post("/auth/change-password", body).status == 200
            case "deletion":
                proof = {"currentPassword": PASSWORD}
                assert ann.request("DELETE", "/user", json=proof).status == 202

    async def run() -> tuple[int, int]:
        before = after = 0
        async with aiohttp.ClientSession(stack.url) as http:
            socket = await http.ws_connect(await request_address(http, ann))
            await asyncio.to_thread(lambda: ann.ask(room, f"Until the {how}"))
            while before < 3:
                before += (await socket.receive(timeout=30)).type is aiohttp.WSMsgType.TEXT
            await asyncio.to_thread(end)
            ended = time.monotonic()
            while time.monotonic() < ended + 4 and not socket.closed:
                try:
                    frame = await socket.receive(timeout=0.5)
                except TimeoutError:
                    continue
                is_late = time.monotonic() > ended + 2
                after += frame.type is aiohttp.WSMsgType.TEXT and is_late
        return before, after

    assert asyncio.run(run()) == (3, 0)


def test_the_grants_of_the_template_allow_a_logout_to_close_a_socket(
    stack: RunningStack,
) -> None:
    """MiniStack enforces grants: without CloseConnections the socket would stay open."""
    ann = stack.new_user()

    async def run() -> None:
        async with aiohttp.ClientSession(stack.url) as http:
            socket = await http.ws_connect(await request_address(http, ann))
            [connection_id] = list_connections(stack, ann)
            ann.post("/auth/logout")
            assert (await socket.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
            with pytest.raises(ClientError, match="Gone"):
                open_connections_api(stack).post_to_connection(
                    ConnectionId=connection_id, Data=b"{}"
                )

    asyncio.run(run())
    assert list_connections(stack, ann) == []


def test_ctrl_c_in_make_chat_stops_the_reply_and_the_chat_continues(stack: RunningStack) -> None:
    reply_slowly(stack, 30, match="Count")
    chat = subprocess.Popen(
        [sys.executable, "-m", "infra.local", "chat", "--data-folder", str(stack.folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert chat.stdin
    assert chat.stdout
    chat.stdin.write("Count\nHello\n")
    chat.stdin.close()
    shown = b""
    while b"piece 1" not in shown:
        more = os.read(chat.stdout.fileno(), 4096)
        assert more, shown
        shown += more
    chat.send_signal(signal.SIGINT)
    rest = chat.stdout.read()
    assert chat.wait(60) == 0
    stopped, answered = rest.splitlines()[-2:]
    assert stopped.endswith("(stopped)")
    assert answered.startswith("You said: Hello")
