"""Rooms: the limit per user, and lists without instructions."""

from collections import Counter

import pytest

from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.parallel import repeat_at_once
from tests.support.person import Person, check_problem
from tests.support.wire import GET, TRANSACT, Wire


@pytest.fixture(autouse=True)
def few_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit rooms to three on the basic plan and five on pro."""
    monkeypatch.setenv("BASIC_ROOMS", "3")
    monkeypatch.setenv("PRO_ROOMS", "5")


def create(user: Person) -> Reply:
    return user.post("/chatroom", {})


@pytest.mark.parametrize(("plan", "limit"), [("basic", 3), ("pro", 5)])
def test_ten_parallel_requests_create_only_as_many_rooms_as_the_plan_allows(
    plan: str, limit: int, api: Api
) -> None:
    user = Person(api)
    if plan == "pro":
        user.subscribe()
    replies = repeat_at_once(lambda _: create(user), 10)
    assert Counter(reply.status for reply in replies) == {201: limit, 409: 10 - limit}
    assert len(user.get("/chatroom").data["chatrooms"]) == limit
    assert f"You have {limit} chatrooms" in check_problem(create(user), 409, "too-many-rooms").text


@pytest.mark.any_write_order
def test_a_deleted_room_allows_exactly_one_new_room(basic_user: Person) -> None:
    rooms = [basic_user.open_room() for _ in range(3)]
    check_problem(create(basic_user), 409, "too-many-rooms")
    assert basic_user.delete(rooms[0]).status == 204
    assert basic_user.delete(rooms[0]).status == 404
    assert create(basic_user).status == 201
    check_problem(create(basic_user), 409, "too-many-rooms")


def test_creating_a_room_reads_the_plan_only_at_the_limit_of_the_basic_plan(
    pro_user: Person, wire: Wire
) -> None:
    for _ in range(3):
        pro_user.open_room()
    assert GET not in wire.calls()
    pro_user.open_room()
    assert wire.calls()[-3:] == [
        TRANSACT,
        GET,
        TRANSACT,
    ]


@pytest.mark.parametrize("source", ["miss", "hit"])
def test_a_list_of_rooms_has_no_instructions(source: str, basic_user: Person) -> None:
    room = basic_user.open_room("One", systemInstruction="Be brief.")
    if source == "hit":
        basic_user.get("/chatroom")
    reply = basic_user.get("/chatroom")
    assert reply.headers["x-cache"] == source
    [listed] = reply.data["chatrooms"]
    assert set(listed) == {"id", "title", "model", "thinking", "createdAt", "updatedAt"}
    assert basic_user.get(f"/chatroom/{room}").data["systemInstruction"] == "Be brief."
