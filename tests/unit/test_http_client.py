"""HTTP over real sockets: kept connections, deadlines, TLS, and broken connections."""

import math
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import certifi
import pytest

from certificates import make_hashed_folder
from geminichat.runtime import deadlines, http_client
from infra.local.serving import free_port
from tests.support import certificates

type Talk = Callable[[socket.socket, int], None]
"""A function that serves a connection, given its number."""

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Seen: Yes\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@contextmanager
def server(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve each connection in a new thread while the block runs; yield the URL."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        number = 0
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            number += 1
            Thread(target=handle, args=(connection, number), daemon=True).start()

    def handle(connection: socket.socket, number: int) -> None:
        try:
            with tls.wrap_socket(connection, server_side=True) if tls else connection as ready:
                talk(ready, number)
        except OSError:
            pass

    Thread(target=accept, daemon=True).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def request(connection: socket.socket) -> bytes:
    """Return the next request with its body, or b"" if the client has closed the connection."""
    read = b""
    while b"\r\n\r\n" not in read:
        part = connection.recv(65536)
        if not part:
            return b""
        read += part
    head, _, body = read.partition(b"\r\n\r\n")
    length = next(
        (
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer_all(answer: bytes = OK) -> Talk:
    """Answer every request of every connection."""

    def talk(connection: socket.socket, _: int) -> None:
        while request(connection):
            connection.sendall(answer)

    return talk


def post(url: str, body: bytes = b"{}", **headers: str) -> http_client.Answer:
    return http_client.request("POST", url, headers, body, connect=1, read=0.3)


def test_an_answer_has_status_headers_and_body() -> None:
    seen = []

    def talk(connection: socket.socket, _: int) -> None:
        while asked := request(connection):
            seen.append(asked)
            connection.sendall(OK)

    with server(talk) as url:
        found = post(f"{url}/a/b?c=d", "é".encode(), accept="x")
    assert (found.status, found.body, found.headers["x-seen"]) == (200, b"{}", "Yes")
    assert seen[0].startswith(b"POST /a/b?c=d HTTP/1.1\r\n")
    assert seen[0].endswith(b"\r\n\r\n\xc3\xa9")
    assert b"accept: x" in seen[0]


def test_head_and_body_of_a_request_are_sent_together() -> None:
    seen: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        seen.append(connection.recv(65536))
        connection.sendall(OK)

    with server(talk) as url:
        post(url, b"the body")
    assert seen[0].endswith(b"\r\n\r\nthe body")


def test_a_line_break_in_a_header_is_refused() -> None:
    with server(answer_all()) as url, pytest.raises(ValueError, match="line break"):
        post(url, key="a\r\nhost: b")


def test_an_error_status_is_returned_not_raised() -> None:
    with server(answer_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n")) as url:
        assert post(url).status == 503


def test_a_connection_is_kept_and_reused() -> None:
    connections = []

    def talk(connection: socket.socket, number: int) -> None:
        connections.append(number)
        answer_all()(connection, number)

    with server(talk) as url:
        for _ in range(5):
            post(url)
    assert connections == [1]


def test_a_kept_connection_that_the_server_has_closed_is_not_reused() -> None:
    def talk(connection: socket.socket, _: int) -> None:
        request(connection)
        connection.sendall(OK)

    with server(talk) as url:
        for _ in range(3):
            assert post(url).status == 200
            [(kept, _)] = http_client._idle[http_client._parse_url(url)[:3]]
            assert kept.recv(1, socket.MSG_PEEK) == b"", "the server has closed the connection"


def test_a_connection_that_was_idle_for_too_long_is_not_reused() -> None:
    connections = []

    def talk(connection: socket.socket, number: int) -> None:
        connections.append(number)
        answer_all()(connection, number)

    with server(talk) as url:
        for idle, expected in [(9.0, [1]), (11.0, [1]), (9.0, [1, 2])]:
            http_client.request("POST", url, {}, b"", connect=1, read=1, idle=idle)
            assert connections == expected
            [(kept, since)] = http_client._idle[http_client._parse_url(url)[:3]]
            http_client._idle[http_client._parse_url(url)[:3]] = [(kept, since - 10)]


def test_a_connection_that_the_server_is_about_to_close_is_not_kept() -> None:
    answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    with server(answer_all(answer)) as url:
        post(url)
        assert not http_client._idle.get(http_client._parse_url(url)[:3])


def test_each_of_many_threads_gets_its_own_answer() -> None:
    def talk(connection: socket.socket, _: int) -> None:
        while asked := request(connection):
            body = asked.partition(b"\r\n\r\n")[2]
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    with server(talk) as url, ThreadPoolExecutor(20) as pool:
        sent = [str(number).encode() for number in range(200)]
        assert [found.body for found in pool.map(lambda body: post(url, body), sent)] == sent


def test_a_refused_connection_raises_the_error_not_connected() -> None:
    with pytest.raises(http_client.NotConnected):
        post(f"http://127.0.0.1:{free_port()}")


def test_a_silent_server_raises_the_error_timed_out() -> None:
    def talk(connection: socket.socket, _: int) -> None:
        request(connection)
        connection.recv(1)

    with server(talk) as url:
        with pytest.raises(http_client.TimedOut):
            post(url)
        assert not http_client._idle.get(http_client._parse_url(url)[:3]), (
            "a later request would read the late answer"
        )


def drip(answer: bytes) -> Talk:
    """Answer byte by byte, with pauses shorter than the socket's time-out."""

    def talk(connection: socket.socket, _: int) -> None:
        request(connection)
        for at in range(len(answer)):
            connection.sendall(answer[at : at + 1])
            time.sleep(0.1)

    return talk


LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "dripped"), [(b"", LONG), (LONG, b"x" * 100)], ids=["headers", "body"]
)
def test_the_deadline_is_for_the_whole_answer_however_slowly_it_arrives(
    at_once: bytes, dripped: bytes
) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        connection.sendall(at_once)
        drip(dripped)(connection, number)

    with server(talk) as url:
        began = time.monotonic()
        with pytest.raises(http_client.TimedOut):
            post(url)
        assert 0.25 < time.monotonic() - began < 2


def test_an_answer_without_a_length_is_read_to_its_end() -> None:
    answer = b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 100_000

    def talk(connection: socket.socket, _: int) -> None:
        request(connection)
        connection.sendall(answer)

    with server(talk) as url:
        assert len(post(url).body) == 100_000


def test_an_overlapped_call_is_sent_before_the_first_call_is_answered() -> None:
    second_is_here = Event()

    def talk(connection: socket.socket, _: int) -> None:
        while asked := request(connection):
            if asked.startswith(b"POST /first"):
                assert second_is_here.wait(5)
            else:
                second_is_here.set()
            connection.sendall(OK)

    def ask(path: str) -> int:
        return http_client.request("POST", url + path, {}, b"{}", connect=1, read=6).status

    with server(talk) as url:
        found = http_client.overlap(lambda: ask("/first"), lambda: ask("/second") + 1)
    assert found == (200, 201)


def test_the_first_calls_deadline_begins_when_the_overlapped_call_has_ended() -> None:
    first_waits = Event()

    def talk(connection: socket.socket, number: int) -> None:
        request(connection)
        if number == 1:
            assert first_waits.wait(5)
        else:
            time.sleep(0.4)  # longer than the first call may take
            first_waits.set()
        connection.sendall(OK)

    def ask(read: float) -> int:
        return http_client.request("POST", url, {}, b"{}", connect=1, read=read).status

    with server(talk) as url:
        assert http_client.overlap(lambda: ask(0.3), lambda: ask(5)) == (200, 200)


def test_if_both_overlapped_calls_fail_the_error_of_the_first_call_is_raised() -> None:
    def refuse(what: str) -> None:
        post(url)
        raise ValueError(what)

    with server(answer_all()) as url:
        with pytest.raises(ValueError, match="first"):
            http_client.overlap(lambda: refuse("first"), lambda: refuse("second"))
        with pytest.raises(ValueError, match="second"):
            http_client.overlap(lambda: post(url), lambda: refuse("second"))
        assert post(url).status == 200  # a later call is not affected


def test_an_overlapped_call_runs_once_however_many_requests_the_first_call_sends() -> None:
    done = []

    def twice() -> None:
        post(url)
        post(url)

    with server(answer_all()) as url:
        http_client.overlap(lambda: None, lambda: done.append("no call"))
        http_client.overlap(twice, lambda: done.append("two calls"))
    assert done == ["no call", "two calls"]


def test_an_overlapped_call_runs_even_if_the_first_call_is_never_answered() -> None:
    done = []

    def talk(connection: socket.socket, number: int) -> None:
        if number > 1:
            answer_all()(connection, number)
        request(connection)

    def second() -> None:
        done.append(post(url).status)

    with server(talk) as url, pytest.raises(http_client.RequestFailed):
        http_client.overlap(lambda: post(url), second)
    assert done == [200]


def test_two_overlapped_calls_share_the_request_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [5.0]
    monkeypatch.setattr(deadlines, "time_left", lambda: left[0])

    def second() -> None:
        left[0] = 0.05

    def never(connection: socket.socket, _: int) -> None:
        while request(connection):
            pass

    with server(never) as url, pytest.raises(http_client.TimedOut, match=r"within 0\.05 s"):
        http_client.overlap(lambda: post(url), second)


def test_calls_within_a_request_deadline_share_its_time() -> None:
    with server(lambda *_: time.sleep(2)) as url:
        began = time.monotonic()
        with deadlines.within(0.5):
            with pytest.raises(http_client.TimedOut):
                post(url)
            with pytest.raises(http_client.TimedOut):
                post(url)
            with pytest.raises(http_client.NotConnected, match="no time left"):
                post(url)
        assert 0.45 < time.monotonic() - began < 1.5
    with server(answer_all()) as url:
        assert post(url).status == 200


def test_the_earlier_of_two_nested_request_deadlines_applies() -> None:
    assert deadlines.time_left() == math.inf
    with deadlines.within(5), deadlines.within(60):
        assert deadlines.time_left() <= 5
    with deadlines.within(60):
        with deadlines.within(5):
            pass
        assert deadlines.time_left() > 50


@pytest.mark.parametrize(
    "body",
    [b"2\r\n{}\r\n0\r\n\r\n", b"1;x=y\r\n{\r\n01\r\n}\r\n0\r\nx-end: yes\r\n\r\n"],
    ids=["one chunk", "extensions and trailers"],
)
def test_a_chunked_answer_is_read_to_its_end_and_its_connection_is_kept(body: bytes) -> None:
    with server(answer_all(CHUNKED + body)) as url:
        assert [post(url).body, post(url).body] == [b"{}", b"{}"]
        assert len(http_client._idle[http_client._parse_url(url)[:3]]) == 1


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200\r\ncontent-length: 0\r\nconnection: Keep-Alive\r\n\r\n", True),
    ],
    ids=["without content", "HTTP/1.0", "kept HTTP/1.0"],
)
def test_a_connection_is_kept_only_if_the_server_keeps_it(head: bytes, *, kept: bool) -> None:
    with server(answer_all(head)) as url:
        assert post(url).body == b""
        assert bool(http_client._idle.get(http_client._parse_url(url)[:3])) is kept


@pytest.mark.parametrize("size", [5, 9_000, 15_000], ids=["few", "more", "many"])
@pytest.mark.parametrize("over_tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize(
    "answer", [OK, CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"], ids=["length", "chunked"]
)
def test_a_connection_that_received_more_than_the_answer_is_not_reused(
    answer: bytes,
    size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    over_tls: bool,
) -> None:
    certificate = tmp_path / "both.pem"
    tls = certificates.make(certificate) if over_tls else None
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    http_client.tls.cache_clear()
    forged = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
    with server(answer_all(answer + forged.ljust(size)), tls) as served:
        url = served.replace("127.0.0.1", "localhost")
        assert [post(url).body for _ in range(3)] == [b"{}"] * 3
        assert not http_client._idle.get(http_client._parse_url(url)[:3])
    http_client.tls.cache_clear()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"HTTP/2 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"0" * 5_000 + b"2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: y",
        CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"2\r\n{}x\r\n0\r\n\r\n",
        CHUNKED + b"2\r\n{}\r\n0\r\n",
    ],
    ids=[
        "nothing",
        "half a body",
        "no HTTP",
        "too many headers",
        "interim, and no more",
        "another version",
        "no length",
        "a length of 5,001 digits",
        "no header",
        "too long a line",
        "half a head",
        "no length of a chunk",
        "too long a chunk",
        "no end of the chunks",
    ],
)
def test_an_incomplete_or_malformed_answer_raises_request_failed(answer: bytes) -> None:
    def talk(connection: socket.socket, _: int) -> None:
        request(connection)
        connection.sendall(answer)

    with server(talk) as url:
        with pytest.raises(http_client.RequestFailed) as caught:
            post(url)
        assert type(caught.value) is http_client.RequestFailed
        assert not http_client._idle.get(http_client._parse_url(url)[:3])


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return tmp_path / "both.pem"


@pytest.fixture
def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    http_client.tls.cache_clear()
    with server(answer_all(), certificates.make(certificate)) as url:
        yield url
    http_client.tls.cache_clear()


def test_an_untrusted_certificate_is_rejected(secure: str) -> None:
    with pytest.raises(http_client.NotConnected):
        post(secure.replace("127.0.0.1", "localhost"))


def test_a_certificate_for_another_host_is_rejected(
    secure: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with pytest.raises(http_client.NotConnected):
        post(secure)


def test_a_trusted_certificate_is_accepted(
    secure: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    assert post(secure.replace("127.0.0.1", "localhost")).body == b"{}"


@pytest.fixture
def folder(certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hashed folder as in the build, with the certificates of certifi and of the test."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(Path(certifi.where()).read_text() + certificate.read_text())
    made = tmp_path / "certificates"
    make_hashed_folder(bundle, made)
    monkeypatch.setattr(http_client, "CERTIFICATES", made)
    return made


def test_a_certificate_in_the_hashed_folder_is_trusted(secure: str, folder: Path) -> None:
    assert len(list(folder.iterdir())) > 100
    assert post(secure.replace("127.0.0.1", "localhost")).body == b"{}"


@pytest.mark.usefixtures("secure", "folder")
def test_a_handshake_reads_only_one_certificate_from_the_hashed_folder(secure: str) -> None:
    assert http_client.tls().get_ca_certs() == []
    post(secure.replace("127.0.0.1", "localhost"))
    assert len(http_client.tls().get_ca_certs()) == 1


@pytest.mark.parametrize("missing", [False, True], ids=["empty", "missing"])
def test_an_empty_or_missing_folder_of_certificates_fails_the_handshake(
    missing: bool, secure: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder)
    if missing:
        monkeypatch.setattr(http_client, "find_spec", lambda _: None)  # as in a layer
    else:
        folder.mkdir()
    with pytest.raises(http_client.NotConnected, match="certificate verify failed"):
        post(secure.replace("127.0.0.1", "localhost"))


def test_the_certificates_of_certifi_are_trusted_if_there_is_no_hashed_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    http_client.tls.cache_clear()
    assert len(http_client.tls().get_ca_certs()) > 100


@pytest.fixture
def tunnel() -> Iterator[tuple[str, list[bytes]]]:
    """The URL of a proxy that connects only to this machine, and the requests to the proxy."""
    asked: list[bytes] = []

    def talk(connection: socket.socket, _: int) -> None:
        line = request(connection).split(b"\r\n")[0]
        asked.append(line)
        port = int(line.split()[1].rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port)) as beyond:
            connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = Thread(target=pump, args=(beyond, connection), daemon=True)
            back.start()
            pump(connection, beyond)
            with suppress(OSError):
                beyond.shutdown(socket.SHUT_RDWR)
            back.join()  # the number of a closed socket may be reused while a thread reads from it

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)

    with server(talk) as url:
        yield url, asked


def test_https_requests_go_through_the_proxy_of_the_environment(
    secure: str,
    certificate: Path,
    tunnel: tuple[str, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy, asked = tunnel
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    url = secure.replace("127.0.0.1", "localhost")
    assert post(url).body == b"{}"
    assert asked == [f"CONNECT {url.removeprefix('https://')} HTTP/1.1".encode()]


def test_a_host_in_the_no_proxy_variable_is_reached_directly(
    secure: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert post(secure.replace("127.0.0.1", "localhost")).body == b"{}"
    monkeypatch.delenv("NO_PROXY")
    http_client._idle.clear()
    with pytest.raises(http_client.NotConnected):
        post(secure.replace("127.0.0.1", "localhost"))


# ── Answers read piece by piece ─────────────────────────────────────────────────────────────────

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nX-Seen: Yes\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def stream(url: str, silence: float = 0.3, whole: float = 1.0) -> http_client.Stream:
    answer = http_client.stream(url, {}, b"{}", connect=1, silence=silence, whole=whole)
    answer.begin()
    return answer


def stream_chunks(pieces: list[bytes], pause: float = 0.0, end: bytes = b"0\r\n\r\n") -> Talk:
    """Answer every request with chunks, one after another."""

    def talk(connection: socket.socket, _: int) -> None:
        while request(connection):
            connection.sendall(HEAD)
            for piece in pieces:
                connection.sendall(chunk(piece))
                time.sleep(pause)
            if not end:
                return
            connection.sendall(end)

    return talk


def test_a_streamed_answer_comes_piece_by_piece_and_its_connection_is_kept() -> None:
    numbers = []
    talk = stream_chunks([b"one", b"two"], pause=0.05)

    def note_connection(connection: socket.socket, number: int) -> None:
        numbers.append(number)
        talk(connection, number)

    with server(note_connection) as url:
        for _ in range(2):
            answer = stream(url)
            assert (answer.status, answer.headers["x-seen"]) == (200, "Yes")
            assert list(answer) == [b"one", b"two"]
    assert numbers == [1]


def test_a_stream_without_data_ends_after_the_allowed_silence() -> None:
    began = time.monotonic()
    with server(stream_chunks([b"one", b"two"], pause=5)) as url:
        pieces = iter(stream(url, silence=0.2, whole=5))
        assert next(pieces) == b"one"
        with pytest.raises(http_client.Silent):
            next(pieces)
    assert time.monotonic() - began < 1


def test_a_stream_that_arrives_byte_by_byte_ends_at_the_deadline_of_the_answer() -> None:
    began = time.monotonic()
    with server(stream_chunks([b"x"] * 200, pause=0.05)) as url:
        with pytest.raises(http_client.TimedOut) as raised:
            list(stream(url, silence=0.3, whole=0.5))
        assert not isinstance(raised.value, http_client.Silent)
    assert 0.4 < time.monotonic() - began < 1


def test_a_streamed_answer_may_take_longer_than_the_allowed_silence() -> None:
    with server(stream_chunks([b"x"] * 10, pause=0.05)) as url:
        assert b"".join(stream(url, silence=0.3, whole=5)) == b"x" * 10


@pytest.mark.parametrize(
    "talk",
    [
        stream_chunks([b"one"], end=b""),
        stream_chunks([b"one"], end=b"nonsense\r\n"),
        answer_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\none"),
    ],
    ids=["no end", "no chunk", "too short"],
)
def test_a_stream_that_is_cut_off_raises_request_failed(talk: Talk) -> None:
    def once(connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            connection.settimeout(0.2)
            talk(connection, number)

    with server(once) as url, pytest.raises(http_client.RequestFailed) as raised:
        list(stream(url, silence=2, whole=3))
    assert not isinstance(raised.value, http_client.TimedOut)


def test_closing_a_stream_ends_a_wait_for_its_next_piece_in_another_thread() -> None:
    with server(stream_chunks([b"one", b"two"], pause=5)) as url:
        answer = stream(url, silence=5, whole=5)
        with ThreadPoolExecutor() as pool:
            read = pool.submit(list, answer)
            time.sleep(0.2)
            answer.close()
            assert read.result(timeout=1) == [b"one"]


def test_a_stream_ends_at_the_deadline_of_the_request_that_it_serves() -> None:
    with (
        server(stream_chunks([b"x"] * 200, pause=0.05)) as url,
        deadlines.within(0.3),
        pytest.raises(http_client.TimedOut),
    ):
        list(stream(url, silence=1, whole=5))
