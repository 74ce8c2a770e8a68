"""Posts to connections: each is sent once, within a second, to the connection's own path."""

import asyncio
import time

import pytest
from aiohttp import web

from geminichat.clients import connections
from geminichat.clients.connections import Posted
from tests.support.standins import run_app

CONNECTION = "L0SM9cOFvHcCIhw="

requests: list[tuple[str, str, bytes]] = []


def app(status: int, delay: float = 0) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        requests.append((request.method, request.raw_path, await request.read()))
        await asyncio.sleep(delay)
        return web.Response(status=status)

    made = web.Application()
    made.router.add_route("*", "/live/{path:.*}", answer)
    requests.clear()
    return made


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Posted.SENT),
        (410, Posted.GONE),
        (429, Posted.REFUSED),
        (403, Posted.REFUSED),
        (500, Posted.REFUSED),
    ],
)
def test_a_frame_is_posted_once_whatever_the_answer_is(
    status: int, expected: Posted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_app(lambda: app(status)) as url:
        monkeypatch.setenv("LIVE_CONNECTIONS_URL", f"{url}/live")
        assert connections.post(CONNECTION, b"{}") is expected
    assert requests == [("POST", "/live/%40connections/L0SM9cOFvHcCIhw%3D", b"{}")]


def test_a_post_without_an_answer_ends_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_app(lambda: app(200, delay=3)) as url:
        monkeypatch.setenv("LIVE_CONNECTIONS_URL", f"{url}/live")
        began = time.monotonic()
        assert connections.post(CONNECTION, b"{}") is Posted.REFUSED
        assert time.monotonic() - began < 1.5
    assert len(requests) == 1


@pytest.mark.parametrize(("status", "logged"), [(204, False), (410, False), (500, True)])
def test_a_connection_that_cannot_be_closed_is_logged_unless_it_is_gone(
    status: int,
    logged: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with run_app(lambda: app(status)) as url:
        monkeypatch.setenv("LIVE_CONNECTIONS_URL", f"{url}/live")
        connections.close(CONNECTION)
    assert requests == [("DELETE", "/live/%40connections/L0SM9cOFvHcCIhw%3D", b"")]
    assert ("connection not closed" in caplog.text) is logged
