"""The front forwards requests unchanged, and enforces API Gateway's limits."""

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from aiohttp import web

from infra.local.cloud.gateway import IN_FLIGHT, MAX_BODY, Gateway
from tests.support.standins import run_app

PREFIX = "/_aws/execute-api/api1/$default"


@dataclass
class Backend:
    """A replacement for MiniStack that records requests and returns a given response."""

    answer: web.Response | None = None
    pause: float = 0.0
    seen: list[dict[str, Any]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def handle(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        body = await request.read()
        self.seen.append(
            {
                "method": request.method,
                "target": request.raw_path,
                "headers": [(name.lower(), value) for name, value in request.headers.items()],
                "body": body,
            }
        )
        await asyncio.sleep(self.pause)
        self.at_once -= 1
        if self.answer is None:
            return web.json_response({"ok": True})
        return web.Response(
            status=self.answer.status, body=self.answer.body, headers=self.answer.headers
        )

    def create_app(self) -> web.Application:
        app = web.Application(client_max_size=2 * MAX_BODY)
        app.router.add_route("*", r"/{path:[\s\S]*}", self.handle)
        return app


@pytest.fixture
def behind() -> Backend:
    return Backend()


@pytest.fixture
def front(behind: Backend) -> Iterator[httpx.Client]:
    with run_app(behind.create_app) as aws_url:
        gateway = Gateway(aws_url, timeout=1.0)
        gateway.open("api1", "live1")
        with (
            run_app(gateway.create_app) as url,
            httpx.Client(base_url=url, timeout=10, trust_env=False) as client,
        ):
            yield client


def test_the_front_answers_503_until_it_is_opened(behind: Backend) -> None:
    with (
        run_app(behind.create_app) as aws_url,
        run_app(Gateway(aws_url).create_app) as url,
    ):
        answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 503
    assert answer.json() == {"message": "The system is still starting"}
    assert behind.seen == []


def test_a_request_is_forwarded_unchanged(front: httpx.Client, behind: Backend) -> None:
    body = '{"content": "née \\u0000"}'.encode()
    headers = {"content-type": "application/json", "x-own": "yes", "authorization": "Bearer t"}
    answer = front.patch("/chatroom/r%2F1?limit=1&limit=2&c=a+b", content=body, headers=headers)
    assert answer.status_code == 200
    [seen] = behind.seen
    assert seen["method"] == "PATCH"
    assert seen["target"] == f"{PREFIX}/chatroom/r%2F1?limit=1&limit=2&c=a+b"
    assert seen["body"] == body
    got = dict(seen["headers"])
    assert headers.items() <= got.items()
    assert got["host"] == front.base_url.netloc.decode()
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-proto"] == "http"


@pytest.mark.parametrize(
    "target",
    ["/", "//double//slash", "/a/../b", "/%2e%2e/%00", "/%F0%9F%90%98", "/a?=&&", "/a%0Ab"],
)
def test_unusual_paths_are_forwarded_unchanged(
    front: httpx.Client, behind: Backend, target: str
) -> None:
    url = urlsplit(str(front.base_url))
    with socket.create_connection((url.hostname, url.port), timeout=5) as line:
        line.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert behind.seen[0]["target"] == PREFIX + target


def test_the_front_adds_only_forwarding_headers(front: httpx.Client, behind: Backend) -> None:
    url = urlsplit(str(front.base_url))
    with socket.create_connection((url.hostname, url.port), timeout=5) as line:
        line.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        line.recv(4096)
    names = {name for name, _ in behind.seen[0]["headers"]}
    assert names == {"host", "content-length", "x-forwarded-for", "x-forwarded-proto"}


def test_repeated_headers_of_a_response_are_forwarded_unchanged(
    front: httpx.Client, behind: Backend
) -> None:
    front.get("/", headers=[("x-many", "a"), ("x-many", "b")])
    assert [value for name, value in behind.seen[0]["headers"] if name == "x-many"] == ["a", "b"]


def test_ministacks_own_headers_are_removed(front: httpx.Client, behind: Backend) -> None:
    behind.answer = web.Response(status=418, body=b"\x00\xff")
    behind.answer.headers.extend(
        [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-own", "yes"), ("x-amzn-requestid", "m")]
    )
    answer = front.get("/")
    assert answer.status_code == 418
    assert answer.content == b"\x00\xff"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["x-own"] == "yes"
    assert "x-amzn-requestid" not in answer.headers


def test_a_compressed_response_is_forwarded_unchanged(front: httpx.Client, behind: Backend) -> None:
    behind.answer = web.Response(body=b"not really gzip", headers={"content-encoding": "gzip"})
    with front.stream("GET", "/") as answer:
        assert b"".join(answer.iter_raw()) == b"not really gzip"


def test_a_body_of_ten_megabytes_is_accepted_and_a_larger_body_is_a_413(
    front: httpx.Client, behind: Backend
) -> None:
    assert front.post("/", content=b"x" * MAX_BODY).status_code == 200
    answer = front.post("/", content=b"x" * (MAX_BODY + 1))
    assert answer.status_code == 413
    assert answer.json() == {"message": "Request Entity Too Large"}
    assert len(behind.seen) == 1


def test_an_exception_in_a_function_is_answered_with_500(
    front: httpx.Client, behind: Backend
) -> None:
    raised = {"errorMessage": "secret detail", "errorType": "Runtime.Error"}
    behind.answer = web.Response(status=502, body=json.dumps(raised).encode())
    answer = front.get("/")
    assert answer.status_code == 500
    assert answer.json() == {"message": "Internal Server Error"}


def test_a_502_that_a_function_answers_is_forwarded_unchanged(
    front: httpx.Client, behind: Backend
) -> None:
    problem = {"title": "Payment provider", "status": 502}
    behind.answer = web.Response(status=502, body=json.dumps(problem).encode())
    assert front.get("/").json() == problem


def test_a_request_that_times_out_is_answered_with_503(
    front: httpx.Client, behind: Backend
) -> None:
    behind.pause = 1.5
    answer = front.get("/")
    assert answer.status_code == 503
    assert answer.json() == {"message": "Service Unavailable"}


def test_a_burst_of_requests_is_forwarded_a_few_at_a_time_and_all_are_answered(
    front: httpx.Client, behind: Backend
) -> None:
    behind.pause = 0.02
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: front.get("/").status_code, range(50)))
    assert answers == [200] * 50
    assert behind.most_at_once == IN_FLIGHT
