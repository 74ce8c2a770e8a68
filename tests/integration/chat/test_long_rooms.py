"""Rooms of 2,000 messages: a page reads only its own messages, and a purge deletes all."""

import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from geminichat.domain import ids
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.messages.tombstones import purge
from tests.support.aftermath import list_waiting, run_sweep
from tests.support.lambdas import Api
from tests.support.person import Person
from tests.support.stored import fill_room, messages_in
from tests.support.wire import BATCH_GET, BATCH_WRITE, QUERY, TRANSACT, Wire, list_calls

MANY = 2_000


@pytest.fixture(scope="module")
def owner(api: Api) -> Person:
    return Person(api)


@pytest.fixture(scope="module")
def long_room(owner: Person) -> str:
    room = owner.open_room()
    fill_room(owner.id, room, MANY)
    return room


def read_pages(owner: Person, url: str, wire: Wire) -> list[list[Any]]:
    """Return the messages of each page, and check that DynamoDB read no other messages."""
    with wire.watch() as tries:
        pages = [page["messages"] for page in owner.pages(url)]
    assert Counter(list_calls(tries)) == {BATCH_GET: len(pages), QUERY: len(pages)}
    queries = [seen.answer for seen in tries if seen.call == QUERY]
    sizes = [len(page) for page in pages]
    assert [one["ScannedCount"] for one in queries] == [one["Count"] for one in queries] == sizes
    return pages


def list_numbers(messages: list[Any]) -> list[int]:
    return [int(message["content"].removeprefix("message ")) for message in messages]


def test_the_pages_of_a_room_hold_each_message_once_and_in_order(
    owner: Person, long_room: str, wire: Wire
) -> None:
    every = read_pages(owner, f"/chatroom/{long_room}?limit=100", wire)
    joined = [number for page in reversed(every) for number in list_numbers(page)]
    assert joined == list(range(1, MANY + 1))
    assert [len(page) for page in every] == [100] * 20


def test_the_pages_of_a_message_list_hold_each_message_once_and_in_order(
    owner: Person, long_room: str, wire: Wire
) -> None:
    every = read_pages(owner, f"/chatroom/{long_room}/message?limit=97", wire)
    assert [number for page in every for number in list_numbers(page)] == list(range(1, MANY + 1))


def test_a_page_after_a_message_begins_with_the_next_message(
    owner: Person, long_room: str, wire: Wire
) -> None:
    after = ids.message_id(long_room, 1_950)
    every = read_pages(owner, f"/chatroom/{long_room}/message?limit=20&after={after}", wire)
    assert [number for page in every for number in list_numbers(page)] == list(
        range(1_951, MANY + 1)
    )


@pytest.mark.any_write_order
def test_a_deleted_room_is_a_404_at_once_and_its_messages_are_purged_later(
    basic_user: Person, wire: Wire
) -> None:
    room = basic_user.open_room()
    fill_room(basic_user.id, room, 300)
    wire.reset()
    assert basic_user.delete(room).status == 204
    assert wire.calls() == [TRANSACT]
    message = ids.message_id(room, 1)
    for url in (f"/chatroom/{room}", f"/chatroom/{room}/message"):
        assert basic_user.get(url).status == 404
    assert basic_user.get(f"/chatroom/{room}/message/{message}").status == 404
    assert basic_user.send(room).status == 404
    assert basic_user.retry(room, message).status == 404
    assert basic_user.delete(room).status == 404
    assert basic_user.request("PATCH", f"/chatroom/{room}", json={"title": "x"}).status == 404

    run_sweep(timedelta(seconds=359))
    assert len(messages_in(room)) == 301
    assert run_sweep(timedelta(seconds=361))["purged"] >= 1
    assert messages_in(room) == []


def test_a_purge_that_runs_out_of_time_continues_in_the_next_sweep(basic_user: Person) -> None:
    room = basic_user.open_room()
    fill_room(basic_user.id, room, 300)
    assert basic_user.delete(room).status == 204
    sizes = [len(messages_in(room))]
    while sizes[-1]:
        assert len(sizes) < 100, "the purge made no progress"
        gone = purge(
            room, time.monotonic() + 0.02 * len(sizes)
        )  # grows, so that a busy machine makes progress, too
        sizes.append(len(messages_in(room)))
        assert gone == (sizes[-1] == 0)
    assert sizes[0] == 301
    assert len(set(sizes)) > 2, "one call deleted all messages"
    assert sizes == sorted(sizes, reverse=True)
    assert not list_waiting([room])


def test_a_reply_that_is_stored_during_a_purge_is_deleted(basic_user: Person, wire: Wire) -> None:
    room = basic_user.open_room()
    fill_room(basic_user.id, room, 3)
    basic_user.delete(room)
    late = StoredMessage(
        room,
        4,
        user_id=basic_user.id,
        sender="ai",
        content="late",
        model="gemini-3.6-flash",
        created_at="2026-01-01T00:00:00.000Z",
    )
    wire.cut(BATCH_WRITE, "meanwhile", do=late.save)
    assert run_sweep(timedelta(hours=1))["purged"] >= 1
    assert messages_in(room) == []
