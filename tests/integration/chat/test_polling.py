"""Polling: a 304 while nothing changes, and never one when something did."""

import pytest

from geminichat.domain import ids
from infra.local.faults import StandIn
from tests.integration.chat.people import User
from tests.integration.lambdas import Poller, Reply


@pytest.fixture
def room(pro_user: User) -> str:
    return pro_user.open_room()


def poll(user: User, room: str, known: str | None = None, query: str = "") -> Reply:
    headers = {} if known is None else {"if-none-match": known}
    return user.get(f"/chatroom/{room}/message{query}", headers=headers)


def test_304_while_nothing_changes_and_200_with_each_step_of_a_prompt(
    pro_user: User, room: str, worker: Poller
) -> None:
    seen: list[str] = []

    def look() -> Reply:
        first = poll(pro_user, room, seen[-1] if seen else None)
        assert first.status == 200
        tag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, no-cache"
        again = poll(pro_user, room, tag)
        assert (again.status, again.text, again.headers["etag"]) == (304, "", tag)
        assert tag not in seen
        seen.append(tag)
        return first

    assert look().data["messages"] == []
    message = pro_user.sent(room, "Hello")
    assert [shown["status"] for shown in look().data["messages"]] == ["queued"]
    worker.drain()
    prompt, reply = look().data["messages"]
    assert (prompt["status"], reply["replyTo"]) == ("answered", message)
    pro_user.sent(room, "And now?")
    assert len(look().data["messages"]) == 3


def test_a_failure_and_a_retry_are_changes_too(
    pro_user: User, room: str, worker: Poller, google: StandIn
) -> None:
    google.fault("blocked")
    message = pro_user.sent(room)
    queued = poll(pro_user, room).headers["etag"]
    worker.drain()
    failed = poll(pro_user, room, queued)
    assert failed.data["messages"][0]["error"]["code"] == "blocked"
    pro_user.retry(room, message)
    again = poll(pro_user, room, failed.headers["etag"])
    assert (again.status, again.headers["etag"]) == (200, queued)


@pytest.mark.parametrize(
    "known",
    ["{}", "W/{}", '"x", {}', '{}, "x"', '"x",W/{} , "y"', " {} ", "*", " * "],
)
def test_the_tag_is_found_weak_or_among_others_and_a_star_is_any(
    known: str, pro_user: User, room: str
) -> None:
    pro_user.sent(room)
    tag = poll(pro_user, room).headers["etag"]
    assert poll(pro_user, room, known.format(tag)).status == 304


@pytest.mark.parametrize("known", ["", '""', '"x"', "W/", "x", '"*"', ",", '"x", "y"', "*, *"])
def test_another_tag_is_answered_in_full(known: str, pro_user: User, room: str) -> None:
    pro_user.sent(room)
    reply = poll(pro_user, room, known)
    assert reply.status == 200
    assert len(reply.data["messages"]) == 1


def test_a_tag_without_its_quotes_is_none(pro_user: User, room: str) -> None:
    tag = poll(pro_user, room).headers["etag"]
    assert poll(pro_user, room, tag.strip('"')).status == 200


def test_a_tag_says_nothing_about_a_room_that_is_not_ones_own_or_gone(
    pro_user: User, basic_user: User, room: str
) -> None:
    tag = poll(pro_user, room).headers["etag"]
    for known in (tag, "*"):
        assert poll(basic_user, room, known).status == 404
        assert poll(basic_user, ids.new("r"), known).status == 404
    pro_user.delete(room)
    for known in (tag, "*"):
        assert poll(pro_user, room, known).status == 404


def test_two_rooms_that_read_the_same_have_tags_of_their_own(pro_user: User, room: str) -> None:
    other = pro_user.open_room()
    for one in (room, other):
        pro_user.sent(one)
    assert poll(pro_user, room).headers["etag"] != poll(pro_user, other).headers["etag"]
