"""Values that a later release has stored, and that this release reads after a rollback."""

import pytest

from geminichat.tables.chatrooms import Chatroom
from geminichat.tables.messages.stored import StoredMessage
from tests.support import document
from tests.support.lambdas import Poller
from tests.support.person import Person
from tests.support.stored import messages_in


@pytest.fixture
def later(pro_user: Person, worker: Poller, monkeypatch: pytest.MonkeyPatch) -> str:
    """A room and messages with unknown values in every enumeration field."""
    room = pro_user.open_room()
    pro_user.ask(room, "one")
    worker.drain()
    prompt, reply = messages_in(room)
    prompt.update([StoredMessage.status.set("postponed"), StoredMessage.thinking.set("extreme")])
    reply.update([StoredMessage.finish.set("folded")])
    Chatroom(pro_user.id, room).update([Chatroom.thinking.set("extreme")])
    monkeypatch.setattr(document, "check", lambda *_: None)  # the document lists only known values
    return room


def test_every_route_shows_messages_that_a_later_release_stored(
    pro_user: Person, later: str
) -> None:
    whole = pro_user.get(f"/chatroom/{later}")
    listed = pro_user.get(f"/chatroom/{later}/message")
    for messages in (whole.data["messages"], listed.data["messages"]):
        assert [message.get("status") for message in messages] == ["postponed", None]
        assert [message.get("finish") for message in messages] == [None, "folded"]
    one = pro_user.get(f"/chatroom/{later}/message/{listed.data['messages'][0]['id']}")
    assert (one.data["status"], one.data["reply"]["finish"]) == ("postponed", "folded")
    assert whole.data["thinking"] is None
    [room] = pro_user.get("/chatroom").data["chatrooms"]
    assert room["thinking"] is None


def test_the_value_of_poll_after_stays_before_a_prompt_with_an_unknown_status(
    pro_user: Person, later: str
) -> None:
    assert pro_user.get(f"/chatroom/{later}/message").data["pollAfter"] is None


def test_a_prompt_in_a_room_of_a_later_release_is_answered_with_its_history(
    pro_user: Person, later: str, worker: Poller
) -> None:
    message = pro_user.ask(later, "two")
    assert messages_in(later)[-1].thinking == "extreme"
    worker.drain()
    reply = pro_user.fetch_message(later, message)["reply"]
    assert reply["content"] == "You said: two (turn 2; before that: one)"
    assert pro_user.retry(later, get_first_id(pro_user, later)).status == 409


def get_first_id(user: Person, room: str) -> str:
    """Return the id of the room's first prompt."""
    return str(user.get(f"/chatroom/{room}/message").data["messages"][0]["id"])
