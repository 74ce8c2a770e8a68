"""Cursors: the next page, and a 400 for a forged cursor or a cursor of another list or user."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest

from geminichat import config
from geminichat.domain import cursors, ids
from geminichat.domain.rooms import Position
from geminichat.upstash import room_list_cache
from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.person import Person
from tests.support.stored import fill_room
from tests.support.wire import Wire

LISTS = {
    "rooms": "/chatroom",
    "room": "/chatroom/{room}",
    "messages": "/chatroom/{room}/message",
}
every_list = pytest.mark.parametrize("name", LISTS)


@pytest.fixture
def room(basic_user: Person) -> str:
    """The newest of five rooms, with six messages."""
    return furnish(basic_user)


def furnish(user: Person) -> str:
    rooms = [user.open_room(title=f"Room {number}") for number in range(5)]
    fill_room(user.id, rooms[-1], 6)
    return rooms[-1]


def ask(user: Person, name: str, room: str, cursor: str | None = None) -> Reply:
    query = {"limit": "2"} | ({} if cursor is None else {"cursor": cursor})
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return user.get(f"{LISTS[name].format(room=room)}?{text}")


def get_cursor(user: Person, name: str, room: str) -> str:
    reply = ask(user, name, room)
    assert reply.status == 200, reply.text
    assert reply.data["nextCursor"]
    return str(reply.data["nextCursor"])


def check_refusal(reply: Reply) -> None:
    assert reply.status == 400, reply.text
    assert reply.json["type"] == "urn:geminichat:problem:bad-request"
    assert "cursor" in reply.json["detail"]
    assert "data" not in reply.json


@every_list
def test_a_cursor_can_be_used_repeatedly_and_returns_the_same_next_page(
    name: str, basic_user: Person, room: str
) -> None:
    cursor = get_cursor(basic_user, name, room)
    following = ask(basic_user, name, room, cursor)
    assert following.status == 200
    assert ask(basic_user, name, room, cursor).data == following.data
    assert following.data != ask(basic_user, name, room).data


@every_list
def test_a_forged_cursor_is_refused_without_a_table_call(
    name: str, basic_user: Person, room: str, wire: Wire
) -> None:
    genuine = get_cursor(basic_user, name, room)
    wire.reset()
    kid, _, text = genuine.partition(".")
    unsigned = base64.urlsafe_b64encode(b"\0" * cursors.MAC_BYTES + b"1").decode().rstrip("=")
    forged = [
        "x", ".", kid, f"{kid}.", f".{text}", f"k9.{text}", f"{kid}.{unsigned}",
        genuine[:-1], genuine[:10], genuine + "A", genuine.swapcase(), "%00", "%C3%A9", "null",
        "x" * 5_000,
    ]  # fmt: skip
    for cursor in forged:
        check_refusal(ask(basic_user, name, room, cursor))
    assert wire.calls() == []


@every_list
@pytest.mark.parametrize("other", LISTS)
def test_a_cursor_of_one_list_is_refused_by_other_lists(
    name: str, other: str, basic_user: Person, room: str
) -> None:
    reply = ask(basic_user, name, room, get_cursor(basic_user, other, room))
    if name == other:
        assert reply.status == 200
    else:
        check_refusal(reply)


@pytest.mark.parametrize("name", ["room", "messages"])
def test_a_cursor_of_one_room_is_refused_by_another_room(
    name: str, basic_user: Person, room: str
) -> None:
    check_refusal(ask(basic_user, name, furnish(basic_user), get_cursor(basic_user, name, room)))


@every_list
def test_a_cursor_of_another_user_is_refused(
    name: str, api: Api, basic_user: Person, room: str
) -> None:
    other = Person(api)
    stolen = get_cursor(basic_user, name, room)
    check_refusal(ask(other, name, furnish(other), stolen))
    check_refusal(ask(other, name, room, stolen))


def test_a_signed_cursor_to_another_users_room_lists_only_the_callers_rooms(
    api: Api, room: str
) -> None:
    """A leaked signing key must not show the rooms of other users."""
    other = Person(api)
    own = furnish(other)
    place = Position(chatroom_id=room, updated_at="9999-01-01T00:00:00.000Z")
    signing = config.signing_keys()
    made = cursors.write(place, f"{other.id} rooms", signing.current, signing.keys[signing.current])
    shown = {entry["id"] for entry in other.get(f"/chatroom?cursor={made}").data["chatrooms"]}
    assert own in shown
    assert room not in shown


@every_list
def test_a_cursor_is_valid_while_its_signing_key_is_accepted(
    name: str, basic_user: Person, room: str
) -> None:
    cursor = get_cursor(basic_user, name, room)
    following = ask(basic_user, name, room, cursor).data
    with sign_with("k2", keep=True):
        kept = ask(basic_user, name, room, cursor)
        assert kept.status == 200
        room_list_cache.drop_list(basic_user.id)  # the cached cursor was signed with the old key
        assert get_cursor(basic_user, name, room).startswith("k2.")
    key = "chatrooms" if name == "rooms" else "messages"
    assert kept.data[key] == following[key]
    with sign_with("k2", keep=False):
        check_refusal(ask(basic_user, name, room, cursor))


@contextmanager
def sign_with(kid: str, *, keep: bool) -> Iterator[None]:
    """Sign with a new key during the block; with `keep` the old key is still accepted."""
    ssm = boto3.client("ssm")
    name = config.setting("SIGNING_KEYS_PARAMETER")
    before = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
    stored = json.loads(before)
    old = stored["keys"] if keep else {}
    new = base64.urlsafe_b64encode(b"n" * 32).decode()

    def put(value: str) -> None:
        ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
        config.forget_secrets()

    put(json.dumps({"current": kid, "keys": {**old, kid: new}}))
    try:
        yield
    finally:
        put(before)


@pytest.mark.parametrize("query", ["limit=101", "cursor=null"])
@every_list
def test_a_malformed_query_value_is_a_400_that_names_its_parameter(
    name: str, query: str, basic_user: Person, room: str
) -> None:
    reply = basic_user.get(f"{LISTS[name].format(room=room)}?{query}")
    assert reply.status == 400
    assert f"'{query.partition('=')[0]}'" in reply.json["detail"]


@every_list
def test_an_empty_query_value_counts_as_absent(name: str, basic_user: Person, room: str) -> None:
    path = LISTS[name].format(room=room)
    whole = basic_user.get(path)
    assert whole.status == 200
    assert basic_user.get(f"{path}?limit=&cursor=&after=").data == whole.data


def test_a_page_after_a_message_that_is_not_in_the_room_is_a_400(
    api: Api, basic_user: Person, room: str
) -> None:
    other = Person(api)
    theirs = furnish(other)
    for after in (ids.message_id(theirs, 1), "m_1", "x", "null", ids.message_id(room, 1) + "x"):
        reply = basic_user.get(f"/chatroom/{room}/message?after={after}")
        assert reply.status == 400, after
        assert "'after'" in reply.json["detail"]
    assert basic_user.get(f"/chatroom/{theirs}/message").status == 404
