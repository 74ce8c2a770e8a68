"""HTTP client: reused connections, a deadline for the whole answer, one TLS context.

No request is sent twice. The deadline of `deadlines.within` shortens all others. The client uses
only the standard library; README.md says what it replaces and how much time it saves.
"""

import functools
import io
import math
import os
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from geminichat.runtime import deadlines

IDLE_LIMIT = 240.0
"""Seconds after which an idle connection is not reused."""
IDLE_LIMIT_ONE_ATTEMPT = 20.0
"""The same for requests that are never retried, because a closed connection would fail them.

A sandbox that was frozen may not know yet that the other side has closed the connection.
"""
MAX_IDLE = 32
"""The most idle connections to one host."""
PIECE = 65_536
"""The most bytes of a streamed answer that are read at once."""

CERTIFICATES = Path(__file__).parents[2] / "certificates"
"""A folder in the layer, made by layers/build/certificates.py: files named by OpenSSL's hashes."""


class RequestFailed(Exception):
    """No complete answer arrived. The request may have taken effect, except for NotConnected."""


class NotConnected(RequestFailed):
    """The request was not sent."""


class TimedOut(RequestFailed):
    """The answer was not complete within the deadline."""


class Silent(TimedOut):
    """The next piece of a streamed answer did not arrive in time."""


class Answer(NamedTuple):
    """An answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Address(NamedTuple):
    secure: bool
    host: str
    port: int
    path: str
    name: str
    """The host, with its port unless that is the scheme's default."""


_idle: dict[tuple[bool, str, int], list[tuple[socket.socket, float]]] = {}
_lock = Lock()


def request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    connect: float,
    read: float,
    idle: float = IDLE_LIMIT,
) -> Answer:
    """Send a request once and return the answer, whatever its status.

    `connect` and `read` are deadlines in seconds, `read` for the whole answer. A connection that
    was idle for longer than `idle` seconds is not reused. Raises NotConnected, TimedOut,
    RequestFailed. Safe to use from threads.
    """
    address = _parse_url(url)
    if deadlines.time_left() <= 0:
        raise NotConnected(f"There is no time left for a request to {address.host}")
    connection = _take_idle(address, idle) or _connect(address, min(connect, deadlines.time_left()))
    read = max(0.001, min(read, deadlines.time_left()))
    try:
        connection.settimeout(read)
        _send(connection, method, address, headers, body)
        if other := _overlapped.get():
            other.run()
            read = max(0.001, min(read, deadlines.time_left()))  # less time may be left now
        response = _DeadlineResponse(connection, method, time.monotonic() + read)
        response.begin()
        if response.status < 200:  # the final answer follows, and the next request would read it
            raise HTTPException(f"an interim answer, {response.status}")
        content = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
    except TimeoutError as error:
        _break_off(connection)
        raise TimedOut(f"{address.host} did not answer within {read:.3g} s") from error
    except (OSError, HTTPException) as error:
        _break_off(connection)
        raise RequestFailed(f"{address.host} broke off: {type(error).__name__}") from error
    except BaseException:
        _break_off(connection)
        raise
    if response.will_close:
        connection.close()
    else:
        _keep_idle(address, connection)
    return Answer(response.status, found, content)


class Stream:
    """An answer that is read piece by piece: call `begin`, iterate once, then call `close`."""

    def __init__(
        self, address: _Address, connection: socket.socket, silence: float, ends_at: float
    ) -> None:
        """Keep the connection; `stream` then sends a POST on it."""
        self._address, self._connection, self._ends_at = address, connection, ends_at
        self._response = _DeadlineResponse(connection, "POST", ends_at, silence)
        self._closed = False
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def begin(self) -> None:
        """Read the status and headers, unless the stream was closed. Raises as `stream` does."""
        with self._translate_errors():
            self._response.begin()
            if self._response.status < 200:
                raise HTTPException("an interim answer")
        if self._closed:
            return
        self.status = self._response.status
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}

    def __iter__(self) -> Iterator[bytes]:
        """Yield pieces of the body until its end or until `close`. Raises as `stream` does."""
        with self._translate_errors():
            while piece := self._response.read1(PIECE):
                yield piece
            if self._response.length:
                raise HTTPException("the answer is not complete")
        if not self._closed and not self._response.will_close:
            _keep_idle(self._address, self._connection)
            self._closed = True

    def close(self) -> None:
        """End the connection unless the answer is complete; safe to call from another thread."""
        if self._closed:
            return
        self._closed = True
        _break_off(self._connection)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        host = self._address.host
        try:
            yield
        except TimeoutError as error:
            self.close()
            if time.monotonic() < self._ends_at:
                raise Silent(f"{host} fell silent") from error
            raise TimedOut(f"{host} did not finish its answer in time") from error
        except (OSError, HTTPException, ValueError, AttributeError) as error:
            closed_by_us = self._closed
            self.close()
            if not closed_by_us:
                raise RequestFailed(f"{host} broke off: {type(error).__name__}") from error


def stream(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    connect: float,
    silence: float,
    whole: float,
) -> Stream:
    """Send a POST once, and return the answer before anything of it is read.

    Another thread can close the answer while `begin` waits. `silence` is the longest wait for a
    piece of the answer, `whole` the longest time for the whole answer, both in seconds. Raises
    NotConnected, TimedOut, Silent, RequestFailed.
    """
    address = _parse_url(url)
    whole = min(whole, deadlines.time_left())
    idle = _take_idle(address, IDLE_LIMIT_ONE_ATTEMPT)
    connection = idle or _connect(address, min(connect, whole))
    answer = Stream(address, connection, silence, time.monotonic() + whole)
    with answer._translate_errors():
        connection.settimeout(min(silence, whole))
        _send(connection, "POST", address, headers, body)
    return answer


def overlap[A, B](first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Return the results of two independent calls, waiting only for the longer one.

    `second` runs in this thread while `first` waits for the answer to its first request. Raises
    the exception of `first`, or else the exception of `second`.
    """
    other = _Overlapped(second)
    token = _overlapped.set(other)
    try:
        result = first()
    finally:
        _overlapped.reset(token)
    return result, other.result()


class _Overlapped[T]:
    """A call that runs once, after a request was sent, and keeps its result."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._results: list[T] = []
        self._error: Exception | None = None

    def run(self) -> None:
        if self._results or self._error:
            return
        token = _overlapped.set(None)
        try:
            self._results.append(self._call())
        except Exception as error:
            self._error = error
        finally:
            _overlapped.reset(token)

    def result(self) -> T:
        self.run()
        if self._error:
            raise self._error
        return self._results[0]


_overlapped: ContextVar[_Overlapped[Any] | None] = ContextVar("overlapped", default=None)


class _DeadlineResponse(HTTPResponse):
    """A response with one deadline, unlike a socket's time-out, which restarts at every byte."""

    def __init__(
        self, sock: socket.socket, method: str, ends_at: float, silence: float = math.inf
    ) -> None:
        super().__init__(sock, method=method)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock, ends_at, silence))


class _DeadlineReader(io.RawIOBase):
    """A reader of a socket with one deadline, after which it raises TimeoutError."""

    def __init__(
        self, raw: io.RawIOBase, sock: socket.socket, ends_at: float, silence: float
    ) -> None:
        self._raw, self._sock, self._ends_at, self._silence = raw, sock, ends_at, silence

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(min(left, self._silence))
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


@functools.lru_cache(maxsize=128)  # paths at Stripe contain ids
def _parse_url(url: str) -> _Address:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    port = parts.port or (443 if secure else 80)
    return _Address(secure, parts.hostname or "", port, path, parts.netloc)


def _send(
    connection: socket.socket,
    method: str,
    address: _Address,
    headers: Mapping[str, str],
    body: bytes | None,
) -> None:
    """Send a request in one piece: one system call, packet and TLS record.

    http.client sends head and body separately, which takes twice the time. Raises ValueError for a
    line break in a header.
    """
    lines = [f"{method} {address.path} HTTP/1.1", "accept-encoding: identity"]
    if "host" not in headers:
        lines.append(f"host: {address.name}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"content-length: {len(body)}")
    head = "\r\n".join(lines)
    if len(re.findall(r"[\r\n]", head)) != 2 * len(lines) - 2:
        raise ValueError("a line break in a header")
    connection.sendall(f"{head}\r\n\r\n".encode("latin-1") + (body or b""))


def _break_off(connection: socket.socket) -> None:
    """Close a connection before its answer is complete; this wakes a thread that reads from it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def _take_idle(address: _Address, idle: float) -> socket.socket | None:
    """Return the most recently used idle connection that is still open, or None."""
    while True:
        with _lock:
            kept = _idle.get(address[:3])
            if not kept:
                return None
            connection, since = kept.pop()
        if 0 <= time.time() - since < idle and not _is_closed(connection):
            return connection
        connection.close()


def _is_closed(connection: socket.socket) -> bool:
    """Return whether the other side has closed the connection, which then becomes readable."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _keep_idle(address: _Address, connection: socket.socket) -> None:
    with _lock:
        kept = _idle.setdefault(address[:3], [])
        if len(kept) < MAX_IDLE:
            # Use the wall clock: the monotonic clock may stop while a sandbox is frozen.
            kept.append((connection, time.time()))
            return
    connection.close()


def _connect(address: _Address, timeout: float) -> socket.socket:
    try:
        if address.secure and (proxy := _proxy(address.host)):
            return _open_tunnel(address, proxy, timeout)
        # With bytes for a name, Python does not import its codec for IDNA, which takes 1.4 ms.
        host: Any = address.host.encode("ascii")
        connection = socket.create_connection((host, address.port), timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls().wrap_socket(connection, server_hostname=host) if address.secure else connection
    except TimeoutError as error:
        raise NotConnected(f"{address.host} did not answer within {timeout} s") from error
    except OSError as error:
        raise NotConnected(f"{address.host} cannot be reached: {error}") from error


def _open_tunnel(address: _Address, proxy: tuple[str, int], timeout: float) -> socket.socket:
    """Return a connection to the address by way of a proxy. Raises OSError."""
    tunnel = HTTPSConnection(*proxy, timeout=timeout, context=tls())
    tunnel.set_tunnel(address.host, address.port)
    try:
        tunnel.connect()
    except OSError:
        tunnel.close()
        raise
    return tunnel.sock


def _proxy(host: str) -> tuple[str, int] | None:
    """Return the host and port of the proxy that the environment names for a host, or None."""
    if not (os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")):
        return None
    from urllib.request import getproxies, proxy_bypass

    if proxy_bypass(host):
        return None
    parts = urlsplit(getproxies()["https"])
    return parts.hostname or "", parts.port or 80


@functools.cache
def tls() -> ssl.SSLContext:
    """Return the TLS context, which trusts the environment's bundle, else certifi's certificates.

    A handshake reads only the certificate that it needs from the folder CERTIFICATES. In a
    checkout without that folder, certifi's whole file is read.
    """
    bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    if not bundle and not CERTIFICATES.is_dir() and find_spec("certifi"):
        import certifi

        bundle = certifi.where()
    if bundle:
        return ssl.create_default_context(cafile=bundle)
    return ssl.create_default_context(capath=CERTIFICATES)
