"""Rooms with a stored last position that is too low, as after a restore of only the rooms."""

from collections.abc import Callable

import pytest

from geminichat.tables.chatrooms import Chatroom
from tests.support.aftermath import check, recover
from tests.support.http_api import Reply
from tests.support.lambdas import Poller
from tests.support.parallel import repeat_at_once
from tests.support.person import Person
from tests.support.stored import messages_in, prompts
from tests.support.wire import BATCH_GET, QUERY, SEND, TRANSACT, UPDATE, Wire, list_calls

pytestmark = pytest.mark.both_engines


WAYS: dict[str, tuple[list[str], Callable[[Person, str, str], Reply]]] = {
    "send": (["one", "two", "three"], lambda user, room, _: user.send(room, "three")),
    "send with a key": (
        ["one", "two", "three"],
        lambda user, room, _: user.send(room, "three", key="k-1"),
    ),
    "edit": (["three"], lambda user, room, first: user.edit(room, first, "three")),
    "regenerate": (["one"], lambda user, room, first: user.regenerate(room, first)),
}


@pytest.fixture
def room(pro_user: Person, worker: Poller) -> str:
    """A room with the answered prompts "one" and "two"; its item has the last position 0."""
    room = pro_user.open_room("Named")
    for content in ("one", "two"):
        pro_user.ask(room, content)
        worker.drain()
    set_last(pro_user, room, 0)
    return room


def set_last(user: Person, room: str, last: int) -> None:
    Chatroom(user.id, room).update([Chatroom.last_seq.set(last)])


@pytest.mark.parametrize("way", WAYS)
def test_a_prompt_follows_the_last_message_even_if_the_last_position_of_the_room_is_too_low(
    way: str, pro_user: Person, room: str, worker: Poller, wire: Wire
) -> None:
    said, ask = WAYS[way]
    first = pro_user.page(room)[0]["id"]
    with wire.watch() as tries:
        reply = ask(pro_user, room, first)
    assert reply.status == 202, reply.text
    assert reply.data["messageId"].endswith("_5")
    calls = [call for call in list_calls(tries) if call != SEND]
    assert calls[-5:] == [TRANSACT, QUERY, UPDATE, BATCH_GET, TRANSACT]
    recover(worker, [room])
    shown = pro_user.page(room)
    assert [one["content"] for one in shown if one["sender"] == "user"] == said
    assert len(shown) == 2 * len(said)
    check(pro_user, [room])
    with wire.watch() as tries:
        pro_user.ask(room)
    assert list_calls(tries) == [BATCH_GET, TRANSACT, SEND]


def test_a_replay_has_the_result_of_the_first_request_even_if_the_last_position_is_too_low(
    pro_user: Person, room: str
) -> None:
    first = pro_user.ask(room, key="k-1")
    set_last(pro_user, room, 0)
    assert pro_user.ask(room, key="k-1") == first
    assert len(list(prompts(room))) == 3


def test_the_position_after_an_unanswered_prompt_is_kept_for_its_reply(
    pro_user: Person, room: str, worker: Poller
) -> None:
    pro_user.ask(room, "three")
    set_last(pro_user, room, 2)
    assert pro_user.ask(room, "four").endswith("_7")
    recover(worker, [room])
    assert [one.sender for one in messages_in(room)] == ["user", "ai"] * 4


def test_prompts_that_are_sent_in_parallel_get_different_positions(
    pro_user: Person, room: str, worker: Poller
) -> None:
    replies = repeat_at_once(lambda number: pro_user.send(room, f"{number}"), 8)
    assert [reply.status for reply in replies] == [202] * 8
    assert [int(prompt.seq) for prompt in prompts(room)] == list(range(1, 20, 2))
    recover(worker, [room])
    check(pro_user, [room])
