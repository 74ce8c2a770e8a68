"""Polling with ETags and `pollAfter`: a poll is a 304 if the messages have not changed."""

from datetime import UTC, datetime, timedelta

import pytest

from geminichat.domain import ids
from geminichat.domain.reads import READS
from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.person import Person, check_problem
from tests.support.standins import StandIn
from tests.support.wire import SEND, Wire


@pytest.fixture
def room(pro_user: Person) -> str:
    return pro_user.open_room()


def poll(user: Person, room: str, known: str | None = None, query: str = "") -> Reply:
    headers = {} if known is None else {"if-none-match": known}
    return user.get(f"/chatroom/{room}/message{query}", headers=headers)


def test_polling_answers_304_until_a_prompts_state_changes(
    pro_user: Person, room: str, worker: Poller
) -> None:
    seen: list[str] = []

    def fetch() -> Reply:
        first = poll(pro_user, room, seen[-1] if seen else None)
        assert first.status == 200
        tag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, no-cache"
        again = poll(pro_user, room, tag)
        assert (again.status, again.text, again.headers["etag"]) == (304, "", tag)
        assert tag not in seen
        seen.append(tag)
        return first

    assert fetch().data["messages"] == []
    message = pro_user.ask(room, "Hello")
    assert [shown["status"] for shown in fetch().data["messages"]] == ["queued"]
    worker.drain()
    prompt, reply = fetch().data["messages"]
    assert (prompt["status"], reply["replyTo"]) == ("answered", message)
    pro_user.ask(room, "And now?")
    assert len(fetch().data["messages"]) == 3


def test_polling_answers_200_after_a_failure_and_a_retry(
    pro_user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    google.fault("blocked")
    message = pro_user.ask(room)
    queued = poll(pro_user, room).headers["etag"]
    worker.drain()
    failed = poll(pro_user, room, queued)
    assert failed.data["messages"][0]["error"]["code"] == "blocked"
    pro_user.retry(room, message)
    again = poll(pro_user, room, failed.headers["etag"])
    assert (again.status, again.headers["etag"]) == (200, queued)


def test_a_poll_of_a_deleted_room_or_another_users_room_is_a_404_with_any_etag(
    pro_user: Person, basic_user: Person, room: str
) -> None:
    tag = poll(pro_user, room).headers["etag"]
    for known in (tag, "*"):
        assert poll(basic_user, room, known).status == 404
        assert poll(basic_user, ids.new("r"), known).status == 404
    pro_user.delete(room)
    for known in (tag, "*"):
        assert poll(pro_user, room, known).status == 404


def test_two_rooms_with_equal_messages_have_different_etags(pro_user: Person, room: str) -> None:
    other = pro_user.open_room()
    for one in (room, other):
        pro_user.ask(one)
    assert poll(pro_user, room).headers["etag"] != poll(pro_user, other).headers["etag"]


def test_polling_with_poll_after_returns_a_late_reply_before_later_turns(
    pro_user: Person, room: str, worker: Poller, wire: Wire
) -> None:
    pro_user.ask(room, "zero")
    worker.drain()
    wire.cut(SEND, "refused", times=2)
    late = pro_user.ask(room, "one")
    first = poll(pro_user, room)
    after = first.data["pollAfter"]
    assert after == first.data["messages"][1]["id"]
    assert poll(pro_user, room, first.headers["etag"]).status == 304

    pro_user.ask(room, "two")
    worker.drain()
    found = poll(pro_user, room, query=f"?after={after}").data
    assert [shown["sender"] for shown in found["messages"]] == ["user", "ai", "user", "ai"]
    assert found["messages"][1]["replyTo"] == late
    assert found["pollAfter"] == found["messages"][-1]["id"]


def test_polling_with_poll_after_returns_every_reply(
    pro_user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    google.fault("blocked", match="prompt 3")
    for number in range(7):
        pro_user.ask(room, f"prompt {number}")
    seen: dict[str, str] = {}
    after, tags = None, set()
    for _ in range(20):
        reply = poll(pro_user, room, query="?limit=4" + (f"&after={after}" if after else ""))
        if reply.data["messages"] == []:
            break
        for message in reply.data["messages"]:
            seen[message["id"]] = message.get("status", "a reply")
        after = reply.data["pollAfter"]
        if reply.headers["etag"] in tags:
            worker.poll()
        tags.add(reply.headers["etag"])
    assert list(seen.values()).count("a reply") == 6
    assert sorted(seen.values()) == ["a reply"] * 6 + ["answered"] * 6 + ["failed"]


def test_a_user_with_too_many_reads_is_refused_until_the_next_minute(
    basic_user: Person, api: Api
) -> None:
    moment = datetime.now(UTC).replace(second=10, microsecond=0) + timedelta(minutes=1)
    token = basic_user.token_at(moment)

    def read(at: datetime) -> Reply:
        return api.get("/chatroom/r_1/message/m_1_1", token=token, at=at)  # needs no table

    assert {read(moment).status for _ in range(READS)} == {404}
    refused = check_problem(read(moment), 429, "too-many-requests")
    assert refused.headers["retry-after"] == "50"
    assert refused.headers["ratelimit"] == '"reads";r=0;t=50'
    assert basic_user.post("/chatroom", {}, at=moment).status == 201, "a write was refused"
    assert Person(api).get("/chatroom", at=moment).status == 200, (
        "the reads of another user were refused"
    )
    assert read(moment + timedelta(minutes=1)).status == 404
