"""The limits of DynamoDB: large items and pages, unprocessed keys and a lagging index."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from geminichat.domain import ids
from geminichat.domain.lines import Hidden
from geminichat.domain.messages import CONTENT_LENGTH
from geminichat.errors import Unavailable
from geminichat.runtime import deadlines
from geminichat.tables.messages import pages
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.messages.tombstones import purge
from tests.support.aftermath import recover, run_sweep
from tests.support.gemini_events import last
from tests.support.lagging_index import delay_index
from tests.support.lambdas import Poller
from tests.support.person import Person, check_problem
from tests.support.standins import StandIn
from tests.support.stored import fill_room, messages_in
from tests.support.template import Values
from tests.support.wire import ALWAYS, BATCH_GET, BATCH_WRITE, GET, UPDATE, Wire

pytestmark = pytest.mark.both_engines

ITEM_LIMIT = 400 * 1024
"""Bytes of an item with its attribute names (DynamoDB's documentation, "Quotas")."""
SIZE, MANY = 60_000, 40
"""The bytes of a message, and the number of messages that fill three pages of a megabyte."""


@pytest.fixture
def room(basic_user: Person) -> str:
    return basic_user.open_room("Named")


@pytest.fixture
def large_room(basic_user: Person, room: str) -> str:
    """A room with several megabytes of messages."""
    fill_room(basic_user.id, room, MANY, padding=lambda: "x" * SIZE)
    return room


def test_a_reply_that_is_too_long_for_an_item_is_cut_and_stored(
    pro_user: Person, worker: Poller, google: StandIn
) -> None:
    room = pro_user.open_room(systemInstruction="😀" * 4_000)
    google.fault("answer", events=[last("ß" * 300_000)])
    message = pro_user.ask(room, "😀" * CONTENT_LENGTH)
    worker.drain()
    look = pro_user.fetch_message(room, message)
    assert look["reply"]["finish"] == "length"
    assert ITEM_LIMIT * 0.8 < len(look["reply"]["content"].encode()) < ITEM_LIMIT


def test_each_message_is_on_one_page_even_if_dynamodb_ends_pages_at_a_megabyte(
    basic_user: Person, large_room: str
) -> None:
    def contents(messages: list[Any]) -> list[str]:
        return [message["content"][:10].rstrip("x") for message in messages]

    expected = [f"message {number}" for number in range(1, MANY + 1)]
    url = f"/chatroom/{large_room}"
    back = [page["messages"] for page in basic_user.pages(f"{url}?limit=100")]
    assert len(back) >= 3
    assert [content for page in reversed(back) for content in contents(page)] == expected
    forth: list[Any] = []
    while more := basic_user.get(
        f"{url}/message?limit=100&after={forth[-1]['id'] if forth else ''}"
    ).data["messages"]:
        forth += more
    assert contents(forth) == expected
    exported = pages.read_all(large_room, Hidden())
    assert [message.content[:10].rstrip("x") for message in exported] == expected


def test_a_fork_of_a_room_of_several_megabytes_holds_each_message(
    basic_user: Person, large_room: str, wire: Wire
) -> None:
    fault = wire.cut(BATCH_WRITE, "unprocessed", times=4)
    fork = basic_user.fork(large_room, ids.message_id(large_room, MANY))
    assert (fork.status, fault.happened) == (201, 4)
    contents = [message.content for message in messages_in(large_room)]
    assert [message.content for message in messages_in(fork.data["id"])] == contents


def test_a_room_of_several_megabytes_is_purged(large_room: str, wire: Wire) -> None:
    wire.cut(BATCH_WRITE, "unprocessed", times=ALWAYS)
    with deadlines.within(0.5), pytest.raises(Unavailable):
        purge(large_room, float("inf"))
    wire.reset()
    fault = wire.cut(BATCH_WRITE, "unprocessed", times=4)
    assert purge(large_room, float("inf"))
    assert (messages_in(large_room), fault.happened) == ([], 4)
    assert Counter(wire.calls())[BATCH_WRITE] == 4 + 3, (
        "the purge did not write one batch per page and four retries"
    )


def test_unprocessed_keys_are_read_again_and_finally_cause_a_503(
    basic_user: Person, room: str, wire: Wire
) -> None:
    fault = wire.cut(BATCH_GET, "unprocessed", times=2)
    assert basic_user.get(f"/chatroom/{room}").data["title"] == "Named"
    assert fault.happened == 2
    wire.cut(BATCH_GET, "unprocessed", times=ALWAYS)
    check_problem(basic_user.get(f"/chatroom/{room}"), 503, "unavailable")


def test_a_sweep_does_not_change_prompts_that_a_lagging_index_shows_as_unfinished(
    basic_user: Person,
    room: str,
    worker: Poller,
    wire: Wire,
    values: Values,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answered = basic_user.ask(room)
    deleted = basic_user.open_room()
    basic_user.ask(deleted)
    with delay_index(wire, values, "MessagesTable", "unfinished"):
        worker.drain()
        basic_user.delete(deleted)
        late = basic_user.ask(room)
        before = [vars(message) for message in messages_in(room)]
        wire.reset()
        assert run_sweep(timedelta(hours=1))["queued"] == 0
        assert run_sweep(timedelta(days=2))["failed"] == 0
        assert wire.calls(about=(room, deleted)) == [GET] * 4, (
            "the two sweeps did not read two prompts each"
        )
        assert [vars(message) for message in messages_in(room)] == before
        assert "not swept" not in capsys.readouterr().out
    recover(worker, [room])
    assert [basic_user.fetch_message(room, one)["status"] for one in (answered, late)] == [
        "answered"
    ] * 2
    assert len(messages_in(room)) == 4
    assert list(StoredMessage.query(deleted, consistent_read=True)) == []


def test_a_prompt_that_is_answered_after_the_sweep_has_read_it_is_not_queued_again(
    basic_user: Person, room: str, worker: Poller, wire: Wire
) -> None:
    message = basic_user.ask(room)
    wire.cut(UPDATE, "meanwhile", do=worker.drain, holding=(room,))
    assert run_sweep(timedelta(hours=1))["queued"] == 0
    assert basic_user.fetch_message(room, message)["status"] == "answered"
    assert run_sweep(timedelta(hours=2)) == {"queued": 0, "failed": 0, "purged": 0}
