"""Network calls per request, counted on the wire; ARCHITECTURE.md states their numbers."""

import collections
import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from geminichat.domain import ids
from geminichat.domain.messages import Status
from geminichat.tables.messages.stored import StoredMessage
from tests.bench import scale
from tests.bench.cost.model import ASSUMED
from tests.support.aftermath import run_sweep
from tests.support.lambdas import Poller
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.stored import prompts
from tests.support.template import Values
from tests.support.wire import (
    BATCH_GET,
    HIDE,
    QUERY,
    RECEIVE,
    SEND,
    TRANSACT,
    UPDATE,
    Wire,
    list_calls,
)

DONE = "sqs.DeleteMessage"


@dataclass(frozen=True)
class Calls:
    """The calls to AWS in their order, and the numbers of calls to Redis and Gemini."""

    aws: list[str]
    redis: int = 0
    gemini: int = 0


@pytest.fixture
def count_calls(
    wire: Wire, redis: StandIn, google: StandIn
) -> Callable[[Callable[[], object]], Calls]:
    """A function that runs some work, and returns the calls that the work caused."""

    def count(work: Callable[[], object]) -> Calls:
        redis.reset()
        google.reset()
        with wire.watch() as tries:
            work()
        calls = list_calls(tries)
        return Calls(calls, len(redis.requests()), len(google.requests()))

    return count


type Counter = Callable[[Callable[[], object]], Calls]


@pytest.fixture
def room(basic_user: Person) -> str:
    return basic_user.open_room("Named")


def test_every_change_of_a_room_takes_one_write(
    basic_user: Person, room: str, count_calls: Counter
) -> None:
    url = f"/chatroom/{room}"
    assert count_calls(basic_user.open_room) == Calls([TRANSACT], redis=1)
    patch = count_calls(lambda: basic_user.request("PATCH", url, json={"title": "x"}))
    assert patch == Calls([BATCH_GET, UPDATE], redis=1)
    assert count_calls(lambda: basic_user.delete(room)) == Calls([TRANSACT], redis=1)


def test_a_cached_list_of_rooms_takes_only_the_read_of_the_session(
    basic_user: Person, room: str, count_calls: Counter
) -> None:
    assert room
    assert count_calls(lambda: basic_user.get("/chatroom")) == Calls([BATCH_GET, QUERY], redis=2)
    assert count_calls(lambda: basic_user.get("/chatroom")) == Calls([BATCH_GET], redis=1)


def test_reading_a_room_takes_two_reads_and_reading_a_message_takes_one(
    basic_user: Person, room: str, count_calls: Counter
) -> None:
    message = basic_user.ask(room)
    for url in (f"/chatroom/{room}", f"/chatroom/{room}/message"):
        made = count_calls(lambda url=url: basic_user.get(url))  # type: ignore[misc]
        assert sorted(made.aws) == [BATCH_GET, QUERY]
        assert (made.redis, made.gemini) == (0, 0)
    one = count_calls(lambda: basic_user.get(f"/chatroom/{room}/message/{message}"))
    assert one == Calls([BATCH_GET])


def test_sending_a_prompt_takes_two_table_calls_and_one_queue_message_and_one_redis_call(
    basic_user: Person, room: str, count_calls: Counter
) -> None:
    first = count_calls(lambda: basic_user.ask(room))
    sent = [BATCH_GET, TRANSACT, SEND]
    assert first == Calls([BATCH_GET, *sent], redis=2)  # the plan is not cached
    assert count_calls(lambda: basic_user.ask(room)) == Calls(sent, redis=1)
    keyed = count_calls(lambda: basic_user.ask(room, key="k-1"))
    assert keyed == Calls(sent, redis=1)
    replayed = count_calls(lambda: basic_user.ask(room, key="k-1"))
    assert replayed == Calls([BATCH_GET, BATCH_GET, SEND])


def test_a_prompt_causes_the_same_calls_on_the_pro_plan_as_on_the_basic_plan(
    pro_user: Person, count_calls: Counter
) -> None:
    room = pro_user.open_room()
    pro_user.ask(room)
    sent = [BATCH_GET, TRANSACT, SEND]
    assert count_calls(lambda: pro_user.ask(room)) == Calls(sent, redis=1)


def test_an_invalid_request_about_rooms_or_prompts_causes_no_call(
    basic_user: Person, room: str, count_calls: Counter
) -> None:
    elsewhere = f"/chatroom/{ids.new('r')}"
    assert count_calls(lambda: basic_user.get("/chatroom/r_1/message/m_1_1")) == Calls([])
    assert count_calls(lambda: basic_user.get(f"/chatroom/{room}/message/m_1_1")) == Calls([])
    assert count_calls(lambda: basic_user.send(room, " ")) == Calls([])
    assert count_calls(lambda: basic_user.send("r_1")) == Calls([])
    assert count_calls(lambda: basic_user.get("/chatroom?cursor=x")) == Calls([])
    assert len(count_calls(lambda: basic_user.get(elsewhere)).aws) == 2


def test_answering_a_prompt_that_nobody_watches_takes_at_most_four_table_calls(
    basic_user: Person, room: str, worker: Poller, count_calls: Counter
) -> None:
    basic_user.ask(room)
    first = count_calls(worker.poll)
    assert first == Calls(add_hide(first, UPDATE, BATCH_GET, TRANSACT, DONE), gemini=1)
    basic_user.ask(room)
    second = count_calls(worker.poll)
    assert second == Calls(add_hide(second, UPDATE, BATCH_GET, QUERY, TRANSACT, DONE), gemini=1)


def add_hide(made: Calls, *calls: str) -> list[str]:
    """Return the calls plus HIDE, at the position where `made` has HIDE."""
    found = list(calls)
    found.insert(made.aws.index(HIDE), HIDE)
    return found


def test_titling_a_room_takes_four_table_calls_and_one_redis_call(
    basic_user: Person, worker: Poller, titler: Poller, count_calls: Counter
) -> None:
    basic_user.ask(basic_user.open_room())
    assert SEND in count_calls(worker.poll).aws
    assert count_calls(titler.poll) == Calls(
        [BATCH_GET, TRANSACT, TRANSACT, BATCH_GET], redis=1, gemini=1
    )


def test_answering_ten_prompts_in_parallel_takes_three_table_calls_each(
    pro_user: Person, worker: Poller, count_calls: Counter
) -> None:
    rooms = [pro_user.open_room("Named") for _ in range(10)]
    for room in rooms:
        pro_user.ask(room)
    made = count_calls(worker.poll)
    assert sorted(made.aws) == sorted([HIDE, *[UPDATE, BATCH_GET, TRANSACT, DONE] * 10])
    assert made.gemini == 10


def test_failing_a_prompt_takes_two_writes(
    basic_user: Person, room: str, worker: Poller, google: StandIn, wire: Wire
) -> None:
    google.fault("blocked")
    basic_user.ask(room)
    wire.reset()
    worker.poll()
    writes = [call for call in wire.calls() if call in (UPDATE, TRANSACT)]
    assert writes == [UPDATE, TRANSACT]


def test_stopping_a_prompt_takes_three_calls_at_most(
    basic_user: Person, room: str, count_calls: Counter
) -> None:
    message = basic_user.ask(room)
    queued = count_calls(lambda: basic_user.post(f"/chatroom/{room}/message/{message}/stop"))
    assert queued == Calls([BATCH_GET, TRANSACT], redis=1)
    message = basic_user.ask(room)
    list(prompts(room))[-1].update([StoredMessage.status.set(Status.GENERATING)])
    generating = count_calls(lambda: basic_user.post(f"/chatroom/{room}/message/{message}/stop"))
    assert generating == Calls([BATCH_GET, UPDATE, UPDATE])
    polled = f"/chatroom/{room}/message/{message}?from=0"
    assert count_calls(lambda: basic_user.get(polled)) == Calls([BATCH_GET, UPDATE, QUERY])
    assert count_calls(lambda: basic_user.get(polled)) == Calls([BATCH_GET, QUERY])


def test_a_sweep_with_nothing_to_do_takes_ten_calls(count_calls: Counter) -> None:
    run_sweep()
    assert count_calls(run_sweep) == Calls([RECEIVE, BATCH_GET, *[QUERY] * 8])


def test_a_prompt_causes_as_many_writes_and_metrics_as_the_cost_model_assumes(
    basic_user: Person,
    room: str,
    worker: Poller,
    wire: Wire,
    values: Values,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with wire.watch() as tries:
        basic_user.ask(room)
        worker.drain()
    units: collections.Counter[str] = collections.Counter()
    for seen in tries:
        body = json.loads(seen.body)
        if seen.call == TRANSACT:
            units.update(
                2 * [write["TableName"] for one in body["TransactItems"] for write in one.values()]
            )
        elif seen.call == UPDATE:
            units[body["TableName"]] += 1
    for table, many in scale.WRITES.items():
        assert units[values.refs[table]] == many, table
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    written = {
        metric["Name"]
        for line in lines
        for directive in line["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]
    }
    assert len(written) == ASSUMED["metrics"], written
