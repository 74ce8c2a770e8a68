"""Idempotency keys: requests with the same key store one prompt."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.lambdas import Api, Poller
from tests.support.parallel import repeat_at_once
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.stored import prompts
from tests.support.wire import SEND, Wire

pytestmark = pytest.mark.any_write_order

TODAY = datetime.now(UTC).replace(hour=12)


@pytest.mark.parametrize("redis_is", ["there", "gone"])
def test_twenty_parallel_requests_with_one_idempotency_key_store_and_count_one_prompt(
    redis_is: str, basic_user: Person, redis: StandIn
) -> None:
    room = basic_user.open_room()
    if redis_is == "gone":
        redis.fault("drop", times="always")
    replies = repeat_at_once(lambda _: basic_user.send(room, key="k-1", at=TODAY), 20)
    statuses = Counter(reply.status for reply in replies)
    assert set(statuses) <= {202, 409}
    assert statuses[202] >= 1
    assert len({reply.data["messageId"] for reply in replies if reply.status == 202}) == 1
    for reply in replies:
        if reply.status == 409:
            assert reply.json["type"].endswith(":key-in-use")
    assert len(list(prompts(room))) == basic_user.count_prompts(TODAY) == 1
    again = basic_user.send(room, key="k-1", at=TODAY)
    assert again.status == 202
    assert again.headers["idempotency-replayed"] == "true"
    left = [basic_user.send(room, at=TODAY).status for _ in range(5)]
    assert left == [202] * 4 + [429]


@pytest.mark.parametrize("other", ["content", "room"])
def test_an_idempotency_key_of_another_request_is_a_422_and_stores_nothing(
    other: str, basic_user: Person
) -> None:
    room, second = basic_user.open_room(), basic_user.open_room()
    basic_user.ask(room, "one", key="k-1")
    reply = basic_user.send(*((room, "two") if other == "content" else (second, "one")), key="k-1")
    assert reply.status == 422
    assert reply.json["type"].endswith(":key-reused")
    assert basic_user.count_prompts() == 1
    assert list(prompts(second)) == []


def test_requests_with_one_idempotency_key_may_differ_in_space_around_the_content(
    basic_user: Person,
) -> None:
    room = basic_user.open_room()
    first = basic_user.ask(room, "Hello", key="k-1")
    assert basic_user.ask(room, "\n \nHello \n", key="k-1") == first


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "a\r\nx: y", "a\tb", "é", "\x7f", "k" * 256], ids=repr
)
def test_an_idempotency_key_that_is_not_1_to_255_visible_characters_is_a_400(
    key: str, basic_user: Person
) -> None:
    room = basic_user.open_room()
    reply = basic_user.send(room, key=key)
    assert reply.status == 400
    assert "Idempotency-Key" in reply.json["detail"]
    assert list(prompts(room)) == []


def test_an_idempotency_key_of_255_characters_is_valid(basic_user: Person) -> None:
    room = basic_user.open_room()
    key = "~" * 255
    assert basic_user.ask(room, key=key) == basic_user.ask(room, key=key)


def test_two_users_may_use_the_same_idempotency_key(api: Api, basic_user: Person) -> None:
    other = Person(api)
    rooms = {user.id: user.open_room() for user in (basic_user, other)}
    sent = [user.ask(rooms[user.id], key="k-1") for user in (basic_user, other)]
    assert len(set(sent)) == 2


def test_a_replay_is_accepted_after_the_daily_quota_is_used_up(basic_user: Person) -> None:
    room = basic_user.open_room()
    first = basic_user.ask(room, key="k-1", at=TODAY)
    for _ in range(4):
        basic_user.ask(room, at=TODAY)
    assert basic_user.send(room, at=TODAY).status == 429
    assert basic_user.ask(room, key="k-1", at=TODAY) == first


def test_the_idempotency_key_of_a_refused_request_is_still_unused(basic_user: Person) -> None:
    room = basic_user.open_room()
    for _ in range(5):
        basic_user.ask(room, at=TODAY)
    assert basic_user.send(room, key="k-1", at=TODAY).status == 429
    reply = basic_user.send(room, key="k-1", at=TODAY + timedelta(days=1))
    assert reply.status == 202
    assert "idempotency-replayed" not in reply.headers


@pytest.mark.both_engines
def test_an_idempotency_key_is_valid_for_24_hours(basic_user: Person) -> None:
    room = basic_user.open_room()
    first = basic_user.ask(room, key="k-1", at=TODAY)
    kept = TODAY + timedelta(hours=23, minutes=59)
    assert basic_user.ask(room, key="k-1", at=kept) == first
    assert basic_user.ask(room, key="k-1", at=TODAY + timedelta(hours=24)) != first


def test_a_replay_queues_a_prompt_again_if_its_queue_message_was_lost(
    basic_user: Person, worker: Poller, wire: Wire
) -> None:
    room = basic_user.open_room()
    wire.cut(SEND, "refused", times=2)
    first = basic_user.ask(room, key="k-1")
    assert not worker.poll().bodies
    assert basic_user.ask(room, key="k-1") == first
    worker.drain()
    assert basic_user.fetch_message(room, first)["status"] == "answered"


def test_a_replay_of_a_finished_prompt_returns_its_status_and_queues_nothing(
    basic_user: Person, worker: Poller, wire: Wire
) -> None:
    room = basic_user.open_room()
    first = basic_user.ask(room, key="k-1")
    worker.drain()
    wire.reset()
    reply = basic_user.send(room, key="k-1")
    assert (reply.status, reply.data["status"]) == (202, "answered")
    assert reply.data["messageId"] == first
    assert SEND not in wire.calls()


def test_a_replay_in_a_deleted_room_is_a_404(basic_user: Person) -> None:
    room = basic_user.open_room()
    basic_user.ask(room, key="k-1")
    basic_user.delete(room)
    assert basic_user.send(room, key="k-1").status == 404
