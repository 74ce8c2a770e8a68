"""AWS's side of a function: its Runtime API, which sends events, and the services to call.

A function runs as on Lambda: awslambdaric starts it in a fresh process of the runtime's Python. The
process can import only the function's folder and layers.
"""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from tests.bench.standins import World, record
from tests.bench.throttle import cpu_of

TIMEOUT = 60.0
"""The deadline in seconds of every wait in this module."""

type Route = Callable[["_Http", str, str, Mapping[str, str], bytes], None]


class BenchError(Exception):
    """A failure of the bench, with a message for the person who runs it."""


class _Http(asyncio.Protocol):
    """A minimal HTTP/1.1 server that keeps connections open and accepts chunked bodies."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._buffer = b""
        self.transport: asyncio.Transport | None = None
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self.began = time.monotonic()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:])
            }
            body_from = end + 4
            if headers.get("transfer-encoding", "").lower() == "chunked":
                done, body = _chunks(self._buffer, body_from)
                if not done:
                    return
            else:
                done = body_from + int(headers.get("content-length", "0"))
                if len(self._buffer) < done:
                    return
                body = self._buffer[body_from:done]
            self._buffer = self._buffer[done:]
            method, path, _ = lines[0].split(" ", 2)
            self._route(self, method, path, headers, body)

    def send(self, data: bytes) -> None:
        """Send an answer if the client is still connected."""
        if self.transport and not self.transport.is_closing():
            self.transport.write(data)


def _chunks(data: bytes, start: int) -> tuple[int, bytes]:
    """Return a chunked body's end and content; the end is 0 while the body is incomplete."""
    body = b""
    while (line := data.find(b"\r\n", start)) >= 0:
        size = int(data[start:line].split(b";")[0], 16)
        after = line + 2 + size + 2
        if len(data) < after:
            return 0, b""
        body += data[line + 2 : line + 2 + size]
        start = after
        if size == 0:
            return start, body
    return 0, b""


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Host:
    """The event loop that serves the stand-ins and the functions' Runtime APIs."""

    def __init__(self, world: World) -> None:
        """Answer from `world`, an attribute that may be replaced between two calls."""
        self.world = world
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        """The URL of all services."""
        return f"http://127.0.0.1:{self.port}"

    def listen(
        self, route: Route, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.Server, int]:
        """Serve a route on a port (0: any free port); return the server and its port."""

        async def start() -> asyncio.Server:
            return await self.loop.create_server(lambda: _Http(route), "127.0.0.1", port, ssl=tls)

        server = asyncio.run_coroutine_threadsafe(start(), self.loop).result(TIMEOUT)
        return server, int(server.sockets[0].getsockname()[1])

    def _serve(
        self, http: _Http, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        world, began = self.world, http.began
        answer = world.answer(method, path, headers, body)
        sent = answer.body()

        def reply() -> None:
            world.calls.append(record(answer, len(body), sent, began))
            http.send(answer.head(sent) + (_chunk(sent) if answer.more else sent))
            for number, part in enumerate(answer.more, 1):
                end = b"0\r\n\r\n" if number == len(answer.more) else b""
                later = _chunk(part.encode()) + end
                self.loop.call_later(number * world.between, http.send, later)

        pause = world.pauses.get(answer.service, world.pause)
        if pause:
            self.loop.call_later(pause, reply)
        else:
            reply()

    @contextmanager
    def run(self, port: int = 0) -> Iterator["Host"]:
        """Serve the services while the block runs."""
        self._thread.start()
        _, self.port = self.listen(self._serve, port)
        try:
            yield self
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(TIMEOUT)

    @contextmanager
    def serve_tls(self, tls: ssl.SSLContext) -> Iterator[int]:
        """Serve the services over TLS too while the block runs, and yield the port."""
        server, port = self.listen(self._serve, tls=tls)
        try:
            yield port
        finally:
            self.loop.call_soon_threadsafe(server.close)


@dataclass(frozen=True)
class Subject:
    """A function or reference to run: its code, packages, settings and event."""

    name: str
    code: Path
    layers: Sequence[Path]
    settings: Mapping[str, str]
    event: Mapping[str, Any]
    timeout: int = 30


@dataclass(frozen=True)
class Cold:
    """A cold start until the first answer: seconds of wall and CPU time, and peak memory in MB."""

    wall: float
    cpu: float
    memory: float


class Function:
    """A sandbox: the process of one function, and the Runtime API that sends events to it."""

    def __init__(self, host: Host, python: Path, runtime: Path, subject: Subject) -> None:
        """Start the process; `runtime` is the folder of awslambdaric."""
        self._subject = subject
        self._work: Queue[_Http] = Queue()
        self._done: Queue[tuple[float, bytes, bool]] = Queue()
        self._host = host
        self._initialised: float | None = None
        self._server, port = host.listen(self._route)
        path = os.pathsep.join(str(place) for place in [*subject.layers, runtime])
        env = {
            **subject.settings,
            "PATH": os.defpath,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(subject.code),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": subject.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        }
        self._log: list[bytes] = []
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [python, "-sS", "-m", "awslambdaric", "app.handler"],
            cwd=subject.code,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        threading.Thread(target=self._read_log, daemon=True).start()

    def invoke(self, event: Mapping[str, Any] | None = None) -> tuple[float, Any]:
        """Send an event to the function; return the time of its answer, and the answer."""
        http = self._take(self._work)
        body = json.dumps(event or self._subject.event).encode()
        deadline = round((time.time() + self._subject.timeout) * 1000)
        head = (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            "Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n"
            f"Lambda-Runtime-Deadline-Ms: {deadline}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn: "
            f"arn:aws:lambda:us-east-1:000000000000:function:{self._subject.name}\r\n\r\n"
        )
        self._host.loop.call_soon_threadsafe(http.send, head.encode() + body)
        when, answer, failed = self._take(self._done)
        if failed:
            raise BenchError(f"{self._subject.name} failed: {answer.decode()[:2000]}")
        read = json.loads(answer or b"null")
        if isinstance(read, dict) and int(read.get("statusCode", 200)) >= 500:
            raise BenchError(f"{self._subject.name} answered {read}\n{self.log()}")
        return when, read

    def wait_until_ready(self) -> float:
        """Wait until the function asks for an event; return the moment when it first asked."""
        self._work.put(self._take(self._work))
        assert self._initialised is not None
        return self._initialised

    @property
    def name(self) -> str:
        """The function's name."""
        return self._subject.name

    @property
    def process(self) -> int:
        """The id of the function's process."""
        return self._process.pid

    def log(self) -> str:
        """Return the last part of the process's output."""
        time.sleep(0.1)  # the last lines may not have been read yet
        return b"".join(self._log).decode(errors="replace")[-3000:]

    def cpu(self) -> float:
        """Return the seconds of CPU that the process has used."""
        return cpu_of(self._process.pid)

    def peak(self) -> float:
        """Return the peak memory of the process, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def close(self) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(TIMEOUT)
        self._host.loop.call_soon_threadsafe(self._server.close)

    def _take[T](self, queue: Queue[T]) -> T:
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                return queue.get(timeout=0.5)
            except Empty:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(
                        f"{self._subject.name} did not answer:\n{self.log()}"
                    ) from None

    def _read_log(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._log.append(line)
            del self._log[:-50]

    def _route(
        self, http: _Http, method: str, path: str, _headers: Mapping[str, str], body: bytes
    ) -> None:
        if method == "GET" and path.endswith("/invocation/next"):
            if self._initialised is None:
                self._initialised = time.perf_counter()
            self._work.put(http)
            return
        self._done.put((time.perf_counter(), body, not path.endswith("/response")))
        http.send(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")


@contextmanager
def sandbox(host: Host, python: Path, runtime: Path, subject: Subject) -> Iterator[Function]:
    """Run a subject in a sandbox while the block runs."""
    function = Function(host, python, runtime, subject)
    try:
        yield function
    finally:
        function.close()


def cold_start(host: Host, python: Path, runtime: Path, subject: Subject) -> tuple[Cold, Any]:
    """Start a subject and send it one request; return the cold start and the answer."""
    with sandbox(host, python, runtime, subject) as function:
        when, answer = function.invoke()
        cpu = function.cpu()
        return Cold(when - function.started, cpu, function.peak()), answer
