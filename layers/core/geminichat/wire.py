"""HTTP to the services we call: kept connections, two deadlines a call, one TLS context.

Built on the standard library alone, because what a function imports is paid for by whoever meets a
cold start: this costs a tenth of the clients that botocore and upstash-redis bring along.
"""

import functools
import os
import select
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from urllib.parse import urlsplit

KEPT_FOR = 240.0
"""Seconds for which an idle connection is used again."""
KEPT_FOR_ONE_TRY = 20.0
"""The same for what is sent once: nobody makes good there what went to a connection that is gone.

A sandbox that was frozen may not have heard yet that the other side has closed.
"""
KEPT = 32
"""Idle connections to one place."""


class Failed(Exception):
    """No answer came. The request may have had its effect, but where a subclass says otherwise."""


class NotConnected(Failed):
    """Nothing was sent."""


class TimedOut(Failed):
    """No answer within the deadline."""


class Answer(NamedTuple):
    """What came back; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Place(NamedTuple):
    secure: bool
    host: str
    port: int
    path: str


_idle: dict[tuple[bool, str, int], list[tuple[HTTPConnection, float]]] = {}
_lock = Lock()


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    connect: float,
    read: float,
    idle: float = KEPT_FOR,
) -> Answer:
    """Send a POST and return the answer, whatever its status; the deadlines are in seconds.

    A connection that was idle for longer than `idle` seconds is not used again.
    Raises NotConnected, TimedOut, Failed. Nothing is tried again. Safe to use from threads.
    """
    place = _place(url)
    connection = _kept(place, idle) or _connected(place, connect)
    try:
        connection.sock.settimeout(read)
        connection.request("POST", place.path, body, headers)
        response = connection.getresponse()
        if response.status < 200:  # the final answer is still to come, and would be the next call's
            raise HTTPException(f"an interim answer, {response.status}")
        content = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
    except TimeoutError as error:
        connection.close()
        raise TimedOut(f"{place.host} did not answer within {read} s") from error
    except (OSError, HTTPException) as error:
        connection.close()
        raise Failed(f"{place.host} broke off: {type(error).__name__}") from error
    except BaseException:
        connection.close()
        raise
    if response.will_close:
        connection.close()
    else:
        _keep(place, connection)
    return Answer(response.status, found, content)


@functools.cache
def _place(url: str) -> _Place:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Place(secure, parts.hostname or "", parts.port or (443 if secure else 80), path)


def _kept(place: _Place, idle: float) -> HTTPConnection | None:
    """Return a kept connection that still stands, the one used last."""
    while True:
        with _lock:
            kept = _idle.get(place[:3])
            if not kept:
                return None
            connection, since = kept.pop()
        if 0 <= time.time() - since < idle and not _is_closed(connection):
            return connection
        connection.close()


def _is_closed(connection: HTTPConnection) -> bool:
    """Say whether the other side has closed: nothing else makes an idle connection readable."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _keep(place: _Place, connection: HTTPConnection) -> None:
    with _lock:
        kept = _idle.setdefault(place[:3], [])
        if len(kept) < KEPT:
            # By the wall clock: the other one may stand still while a sandbox is frozen.
            kept.append((connection, time.time()))
            return
    connection.close()


def _connected(place: _Place, timeout: float) -> HTTPConnection:
    if place.secure:
        tls = _tls()
        connection: HTTPConnection = HTTPSConnection(
            place.host, place.port, timeout=timeout, context=tls
        )
    else:
        connection = HTTPConnection(place.host, place.port, timeout=timeout)
    try:
        connection.connect()
    except TimeoutError as error:
        connection.close()
        raise NotConnected(f"{place.host} did not answer within {timeout} s") from error
    except OSError as error:
        connection.close()
        raise NotConnected(f"{place.host} cannot be reached: {type(error).__name__}") from error
    return connection


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one context: to read the certificates takes as long as several calls."""
    given = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    if given:
        return ssl.create_default_context(cafile=given)
    certifi = find_spec("certifi")  # its file alone: to import it would cost more
    if certifi is None or certifi.origin is None:
        return ssl.create_default_context()
    return ssl.create_default_context(cafile=Path(certifi.origin).with_name("cacert.pem"))
