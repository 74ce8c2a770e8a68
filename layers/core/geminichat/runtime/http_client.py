"""HTTP client: reused connections, a deadline for the whole answer, one TLS context.

No request is sent twice. The deadline of `deadlines.within` shortens all other deadlines. The
client uses only the standard library; README.md says what it replaces and how much time it saves.
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
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from geminichat.runtime import deadlines

IDLE_LIMIT = 240.0
"""Seconds after which an idle connection is not reused."""
IDLE_LIMIT_ONE_ATTEMPT = 20.0
"""Seconds after which an idle connection is not reused for a request that is never retried.

The other side may have closed the connection while the sandbox was frozen: the request would fail.
"""
MAX_IDLE = 32
"""The most idle connections to one host."""
PIECE = 65_536
"""The most bytes of an answer's body that are read at once."""
LONGEST_LINE = 65_536
"""The most bytes of a line in an answer's head."""
MOST_DIGITS = 18
"""The most digits of an answer's length."""
MOST_HEADERS = 100
"""The most header lines of an answer, and the most lines after the last chunk of a body."""

CERTIFICATES = Path(__file__).parents[2] / "certificates"
"""The folder of CA certificates that layers/build/certificates.py makes.

OpenSSL finds a certificate by its file name, which is a hash.
"""


class RequestFailed(Exception):
    """No complete answer arrived. The request may have taken effect, except for NotConnected."""


class NotConnected(RequestFailed):
    """The request was not sent."""


class TimedOut(RequestFailed):
    """The answer was not complete within the deadline."""


class Silent(TimedOut):
    """The next piece of a streamed answer did not arrive in time."""


class Answer(NamedTuple):
    """An HTTP answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Address(NamedTuple):
    secure: bool
    host: str
    port: int
    path: str
    name: str
    """The host, with the port unless it is the scheme's default port."""


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
        response = _Response(connection, time.monotonic() + read)
        response.begin()
        content = response.read()
    except TimeoutError as error:
        _break_off(connection)
        raise TimedOut(f"{address.host} did not answer within {read:.3g} s") from error
    except (OSError, _Malformed) as error:
        _break_off(connection)
        raise RequestFailed(f"{address.host} broke off: {type(error).__name__}") from error
    except BaseException:
        _break_off(connection)
        raise
    if response.is_reusable():
        _keep_idle(address, connection)
    else:
        connection.close()
    return Answer(response.status, response.headers, content)


class Stream:
    """An answer that is read piece by piece: call `begin`, iterate once, then call `close`."""

    def __init__(
        self, address: _Address, connection: socket.socket, silence: float, ends_at: float
    ) -> None:
        """Keep the connection; `stream` then sends a POST on it."""
        self._address, self._connection, self._ends_at = address, connection, ends_at
        self._response = _Response(connection, ends_at, silence)
        self._closed = False
        self.status = 0
        self.headers: Mapping[str, str] = {}

    def begin(self) -> None:
        """Read the status and headers, unless the stream was closed. Raises as `stream` does."""
        with self._translate_errors():
            self._response.begin()
        if self._closed:
            return
        self.status, self.headers = self._response.status, self._response.headers

    def __iter__(self) -> Iterator[bytes]:
        """Yield pieces of the body until its end or until `close`. Raises as `stream` does."""
        with self._translate_errors():
            while piece := self._response.read_piece():
                yield piece
        if not self._closed and self._response.is_reusable():
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
        except (OSError, ValueError, _Malformed) as error:
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
    """Send a POST once, and return the answer before any of it is read.

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
    """Run two independent calls at the same time, and return both results.

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
    """A call that runs once, after a request of another call was sent, and keeps its result."""

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


class _Malformed(Exception):
    """An answer that is not valid HTTP/1.1 (RFC 9112), or that ends too early."""


class _Response:
    """A reader of an answer on a socket.

    Call `begin` first, then either `read`, or `read_piece` until it returns b"".

    `http.client` would do the same; its import, with the email package, takes 6 % of a cold start.
    """

    def __init__(self, sock: socket.socket, ends_at: float, silence: float = math.inf) -> None:
        self._sock = sock
        self._raw = _DeadlineReader(sock, ends_at, silence)
        self._file = io.BufferedReader(self._raw)
        self._left: int | None = None
        """Unread bytes of the body or chunk; None if the body ends when the connection closes."""
        self._chunked = self._in_chunk = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self._will_close = False

    def begin(self) -> None:
        """Read the status and the headers. Raises _Malformed, OSError."""
        version, _, rest = self._read_line().partition(" ")
        status = rest.partition(" ")[0]
        if version not in ("HTTP/1.1", "HTTP/1.0") or len(status) != 3 or not _is_number(status):
            raise _Malformed("the status line")
        self.status = int(status)
        if self.status < 200:  # the final answer follows, and the next request would read it
            raise _Malformed(f"an interim answer, {self.status}")
        for line in self._read_lines():
            name, colon, value = line.partition(":")
            if not colon:
                raise _Malformed("a header")
            self.headers[name.lower()] = value.strip()
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        if self._chunked or self.status in (204, 304):
            self._left = 0
        elif length is not None:
            if not _is_number(length) or len(length) > MOST_DIGITS:
                raise _Malformed("the length")
            self._left = int(length)
        options = self.headers.get("connection", "").lower()
        keeps = "close" not in options and (version == "HTTP/1.1" or "keep-alive" in options)
        self._will_close = not keeps or self._left is None

    def read(self) -> bytes:
        """Return the whole body. Raises _Malformed, OSError."""
        return b"".join(iter(self.read_piece, b""))

    def read_piece(self) -> bytes:
        """Return the next bytes of the body, b"" at its end. Raises _Malformed, OSError."""
        if self._chunked and not self._left:
            self._left = self._begin_chunk()
        if self._left == 0:
            return b""
        piece = self._file.read1(PIECE if self._left is None else min(PIECE, self._left))
        if self._left is not None:
            if not piece:
                raise _Malformed("the body is not complete")
            self._left -= len(piece)
        return piece

    def is_reusable(self) -> bool:
        """Return whether the connection can send another request after the end of the body.

        It cannot if the server sent more than this answer: the next call would read the rest.
        """
        self._raw.pause()
        pending = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()
        return not (self._will_close or pending or self._file.peek(1))

    def _begin_chunk(self) -> int:
        """Return the length of the next chunk; if it is 0, read the rest of the body."""
        if self._in_chunk and self._read_line():
            raise _Malformed("the end of a chunk")
        self._in_chunk = True
        size = self._read_line().partition(";")[0].strip()
        if not re.fullmatch("[0-9A-Fa-f]+", size):
            raise _Malformed("the length of a chunk")
        length = int(size, 16)
        if not length:
            self._chunked = False
            for _ in self._read_lines():
                pass
        return length

    def _read_lines(self) -> Iterator[str]:
        """Yield the lines before the next empty line."""
        for _ in range(MOST_HEADERS + 1):
            line = self._read_line()
            if not line:
                return
            yield line
        raise _Malformed("too many headers")

    def _read_line(self) -> str:
        line = self._file.readline(LONGEST_LINE + 1)
        if not line.endswith(b"\n"):
            raise _Malformed("a line is too long or not complete")
        return line.rstrip(b"\r\n").decode("latin-1")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


class _DeadlineReader(io.RawIOBase):
    """A reader of a socket with one deadline, after which it raises TimeoutError.

    A socket's own time-out restarts at every byte.
    """

    def __init__(self, sock: socket.socket, ends_at: float, silence: float) -> None:
        self._sock, self._ends_at, self._silence = sock, ends_at, silence
        self._is_paused = False
        # The socket's number is not given to another socket before this file is closed, too:
        # another thread may close the socket during a read.
        self._raw = sock.makefile("rb", buffering=0)

    def pause(self) -> None:
        """Make all later reads return None, as if no data had arrived."""
        self._is_paused = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._is_paused:
            return None
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

    Sending head and body separately takes twice the time. Raises ValueError for a
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
    """Return whether the other side has closed an idle connection: it becomes readable then."""
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
    """Return a connection to the host through a proxy. Raises OSError."""
    from http.client import HTTPSConnection  # no function has a proxy on Lambda

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
