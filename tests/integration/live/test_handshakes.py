"""POST /live, handshakes and prolongations: one ticket opens one connection of a session."""

import base64
import json
import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from geminichat import config
from geminichat.domain import tickets
from geminichat.domain.sessions import Claims
from geminichat.tables import live
from tests.support.lambdas import Api
from tests.support.person import OTHER_PASSWORD, PASSWORD, Person, check_problem
from tests.support.sockets import Connections, Socket

NOW = datetime.now(UTC)


@pytest.fixture
def ann(api: Api) -> Person:
    return Person.new(api)


def request_url(person: Person, at: datetime | None = None) -> str:
    """Request the URL of a WebSocket with POST /live, and return it."""
    reply = person.post("/live", at=at)
    assert reply.status == 200, reply.text
    return str(reply.data["url"])


def list_connections(person: Person) -> set[str]:
    return set(live.read_watchers(person.id, datetime.now(UTC)).connections)


def replace_ticket(url: str, ticket: str) -> str:
    return f"{url.partition('?')[0]}?ticket={ticket}"


def read_ticket(url: str) -> str:
    return parse_qs(urlsplit(url).query)["ticket"][0]


def test_post_live_returns_the_url_of_a_websocket_with_a_ticket(ann: Person) -> None:
    reply = ann.post("/live")
    assert reply.headers["cache-control"] == "no-store"
    assert reply.data["url"].startswith("wss://api.example/live?ticket=")
    assert (reply.data["expiresIn"], reply.data["pingAfter"]) == (60, 300)
    check_problem(ann.api.post("/live"), 401, "unauthorized")
    token = ann.token
    assert ann.post("/auth/logout").status == 200
    check_problem(ann.api.post("/live", token=token), 401, "unauthorized")


def test_a_ticket_is_refused_after_it_has_opened_a_connection(ann: Person) -> None:
    url = request_url(ann)
    socket = Socket(url)
    assert socket.status == 200
    assert list_connections(ann) == {socket.id}
    assert Socket(url).status == 401
    assert list_connections(ann) == {socket.id}
    assert socket.send("$disconnect") == 200
    assert list_connections(ann) == set()
    assert Socket(url).status == 401


def test_a_ticket_expires_after_a_minute(ann: Person) -> None:
    assert Socket(request_url(ann, NOW), at=NOW + timedelta(seconds=59)).status == 200
    assert Socket(request_url(ann, NOW), at=NOW + timedelta(seconds=60)).status == 403


def test_a_handshake_without_a_ticket_is_a_401() -> None:
    assert Socket("wss://api.example/live").status == 401


def forge(ticket: str, **changes: str | int) -> str:
    """Return a ticket with changed contents and the old signature."""
    kid, _, text = ticket.partition(".")
    blob = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    content = json.loads(blob[tickets.MAC_BYTES :]) | changes
    changed = blob[: tickets.MAC_BYTES] + json.dumps(content).encode()
    return f"{kid}.{base64.urlsafe_b64encode(changed).decode().rstrip('=')}"


def test_a_forged_ticket_is_refused(ann: Person) -> None:
    url = request_url(ann)
    ticket = read_ticket(url)
    bob = Person.new(ann.api)
    invalid = [
        "x",
        "k1.",
        ticket[:-1] + ("A" if ticket[-1] != "A" else "B"),
        "k2" + ticket[2:],
        ticket + "é",
        forge(ticket),
        forge(ticket, user_id=bob.id),
        forge(ticket, expires_at=9_999_999_999),
        "." * 3000,
    ]
    for one in invalid:
        assert Socket(replace_ticket(url, one)).status == 403, one[:80]
    assert list_connections(ann) == list_connections(bob) == set()
    assert Socket(url).status == 200


def test_a_ticket_of_another_stage_is_refused(ann: Person) -> None:
    url = request_url(ann)
    signing = config.signing_keys()
    claims = Claims(ann.id, ann.session_id)
    for stage, status in (("prod", 403), (config.setting("STAGE"), 200)):
        ticket = tickets.issue(claims, stage, signing.current, signing.keys["k1"], NOW)
        assert Socket(replace_ticket(url, ticket), at=NOW).status == status


def test_an_access_token_is_no_ticket_and_a_ticket_is_no_access_token(ann: Person) -> None:
    url = request_url(ann)
    assert Socket(replace_ticket(url, ann.token)).status == 403
    check_problem(ann.me(read_ticket(url)), 401, "unauthorized")
    check_problem(ann.api.post("/live", token=read_ticket(url)), 401, "unauthorized")
    check_problem(ann.refresh(read_ticket(url)), 401, "unauthorized")


@pytest.mark.parametrize(
    ("allowed", "origin", "status"),
    [
        ("*", "https://anywhere.example", 200),
        ("https://app.example", None, 200),
        ("https://app.example", "https://app.example", 200),
        ("https://app.example", "https://api.example", 200),
        ("https://app.example", "https://app.example.evil.example", 403),
        ("https://app.example", "http://app.example", 403),
        ("https://app.example", "null", 403),
        ("https://a.example,https://b.example", "https://b.example", 200),
        ("https://*", "https://anywhere.example", 200),
        ("https://*", "http://anywhere.example", 403),
    ],
)
def test_a_web_page_can_connect_only_from_an_allowed_origin(
    ann: Person, monkeypatch: pytest.MonkeyPatch, allowed: str, origin: str | None, status: int
) -> None:
    monkeypatch.setenv("CORS_ORIGINS", allowed)
    monkeypatch.setenv("API_URL", "https://api.example")
    assert Socket(request_url(ann), origin=origin).status == status


def test_a_ticket_of_an_ended_session_opens_no_connection(ann: Person) -> None:
    url = request_url(ann)
    assert ann.post("/auth/logout").status == 200
    assert Socket(url).status == 401


def test_the_ninth_connection_of_a_user_closes_the_first(
    ann: Person, connections: Connections
) -> None:
    sockets = [Socket(request_url(ann)) for _ in range(9)]
    assert connections.closed == [sockets[0].id]
    assert list_connections(ann) == {one.id for one in sockets[1:]}


def test_a_prolongation_closes_a_connection_that_was_removed(
    ann: Person, connections: Connections
) -> None:
    socket = Socket(request_url(ann))
    assert socket.send("renew") == 200
    assert connections.closed == []
    live.close_connection(ann.id, socket.id)
    assert socket.send("renew") == 200
    assert connections.closed == [socket.id]


def test_a_logout_closes_the_connections_of_its_session(
    ann: Person, connections: Connections
) -> None:
    phone = Socket(request_url(ann))
    ann.log_in()
    laptop = Socket(request_url(ann))
    assert ann.post("/auth/logout").status == 200
    assert connections.closed == [laptop.id]
    assert list_connections(ann) == {phone.id}
    assert phone.send("renew") == 200
    assert connections.closed == [laptop.id]


@pytest.mark.parametrize("how", ["everywhere", "change", "reset", "deletion"])
def test_a_connection_is_closed_when_its_session_ends(
    api: Api, connections: Connections, how: str
) -> None:
    ann = Person(api)
    ann.prove(at=datetime.now(UTC) - timedelta(minutes=1))
    socket = Socket(request_url(ann))
    assert list_connections(ann) == {socket.id}
    match how:
        case "everywhere":
            assert ann.post("/auth/logout", {"everywhere": True}).status == 200
        case "change":
            body = {**ann.confirm(), "newPassword": OTHER_PASSWORD}
            assert ann.post("/auth/change-password", body).status == 200
        case "reset":
            ann.forget_password()
            assert ann.reset(ann.code(), PASSWORD).status == 200
        case "deletion":
            assert ann.request("DELETE", "/user", json=ann.confirm()).status == 202
    assert list_connections(ann) == set()
    assert connections.closed == [socket.id]


def test_replacing_and_restoring_an_identity_closes_the_connections_of_ended_sessions(
    api: Api, connections: Connections
) -> None:
    ann, second = Person(api), Person(api)
    now = datetime.now(UTC)
    ann.prove(at=now - timedelta(minutes=3))
    other = Socket(request_url(ann))
    ann.prove(at=now - timedelta(minutes=2))
    own = Socket(request_url(ann))
    proof = ann.confirm(at=now - timedelta(minutes=1))
    assert ann.add_identity(second, proof).status == 200
    assert connections.closed == [other.id]
    assert list_connections(ann) == {own.id}
    ann.prove()
    assert connections.closed == [other.id, own.id]
    assert list_connections(ann) == set()


def test_no_ticket_is_logged(
    ann: Person,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    url = request_url(ann)
    socket = Socket(url, origin="https://page.example")
    assert [socket.status, Socket(url).status] == [200, 401]
    assert Socket(replace_ticket(url, forge(read_ticket(url), stage="x"))).status == 403
    socket.send("renew")
    socket.send("$disconnect")
    logged = [record.getMessage() for record in caplog.records]
    assert (logged.count("handshake"), logged.count("connection")) == (3, 4)
    written = "".join([*capsys.readouterr(), *(repr(vars(record)) for record in caplog.records)])
    for secret in (read_ticket(url), read_ticket(url).partition(".")[2][40:80], ann.token):
        assert secret not in written
