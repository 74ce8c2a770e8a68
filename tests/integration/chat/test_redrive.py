"""A redrive answers prompts that failed in an outage of Gemini and does not count them again."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from geminichat.domain import ids, times
from geminichat.domain.messages import REDRIVABLE
from geminichat.runtime import clock
from geminichat.tables.audit import Audit
from geminichat.tables.messages.prompts import list_failed
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.messages.tombstones import purge
from geminichat.tables.usage import Usage
from tests.support import operators
from tests.support.aftermath import recover
from tests.support.lagging_index import delay_index
from tests.support.lambdas import Poller
from tests.support.person import Person
from tests.support.queues import count_messages, job_of, send_dead_letter
from tests.support.standins import StandIn
from tests.support.stored import NO_ROOM, messages_in, prompts
from tests.support.template import Values
from tests.support.wire import SEND, TRANSACT, Died, Wire


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_ATTEMPTS", "1")


@pytest.fixture(autouse=True)
def no_failed_prompt() -> None:
    """Delete the failed prompts of earlier tests."""
    for code in REDRIVABLE:
        for room, seq in list(list_failed(code, datetime(2000, 1, 1, tzinfo=UTC))):
            StoredMessage(room, seq).delete()


@pytest.fixture
def failed_prompt(basic_user: Person, worker: Poller, google: StandIn) -> tuple[str, str]:
    """A room and its prompt, which failed while Gemini was down."""
    room = basic_user.open_room()
    google.fault("error", status=503)
    message = basic_user.ask(room)
    worker.drain()
    assert basic_user.fetch_message(room, message)["error"]["code"] == "gemini-unavailable"
    assert basic_user.count_prompts() == 0
    return room, message


def count_dead_letters() -> int:
    """Return the number of dead letters."""
    return sum(count_messages("DeadLettersQueue"))


def redrive(**options: Any) -> tuple[dict[str, int], str]:
    """Run a redrive; return the number of prompts per outcome, and the operator's output."""
    act = {"act": "redrive", "id": ids.new("a"), "reason": "the outage is over"} | options
    outcome = operators.send(act)["data"]
    return outcome["counts"], "\n".join([*outcome["lines"], outcome["message"]])


def test_a_redriven_prompt_is_answered_and_not_counted_again(
    basic_user: Person, failed_prompt: tuple[str, str], worker: Poller
) -> None:
    room, message = failed_prompt
    done, said = redrive()
    assert done == {"queued": 1}
    assert said == f"{message}: queued again\n1 of 1 queued again: gemini-unavailable 1."
    assert count_dead_letters() == 0
    assert basic_user.fetch_message(room, message)["status"] == "queued"
    worker.drain()
    end = basic_user.fetch_message(room, message)
    assert (end["status"], end["error"]) == ("answered", None)
    assert basic_user.count_prompts() == 0
    assert redrive() == ({}, "Nothing to redrive.")


def test_a_redriven_prompt_that_fails_again_is_not_refunded_twice(
    basic_user: Person,
    failed_prompt: tuple[str, str],
    worker: Poller,
    google: StandIn,
) -> None:
    room, message = failed_prompt
    basic_user.ask(room, "another")
    worker.drain()
    redrive()
    google.fault("error", status=503)
    worker.drain()
    assert basic_user.fetch_message(room, message)["status"] == "failed"
    assert basic_user.count_prompts() == 1
    assert count_dead_letters() == 0
    assert redrive()[0] == {"queued": 1}


@pytest.mark.any_write_order
def test_prompts_that_users_have_retried_or_deleted_are_not_redriven(
    basic_user: Person, worker: Poller, google: StandIn
) -> None:
    google.fault("error", status=503, times=3)
    rooms = [basic_user.open_room() for _ in range(3)]
    messages = [basic_user.ask(room) for room in rooms]
    worker.drain()
    for room in rooms:
        send_dead_letter(job_of(room))
    assert basic_user.retry(rooms[0], messages[0]).status == 202
    assert basic_user.retry(rooms[1], messages[1]).status == 202
    worker.drain()
    basic_user.delete(rooms[2])
    assert purge(rooms[2], time.monotonic() + 60)
    assert redrive()[0] == {"ended": 3}
    assert count_dead_letters() == 0
    assert basic_user.count_prompts() == 2


@pytest.mark.both_engines
def test_an_answered_prompt_is_not_redriven_if_a_lagging_index_still_shows_it_as_failed(
    basic_user: Person,
    failed_prompt: tuple[str, str],
    worker: Poller,
    wire: Wire,
    values: Values,
) -> None:
    room, message = failed_prompt
    with delay_index(wire, values, "MessagesTable", "failed"):
        assert basic_user.retry(room, message).status == 202
        worker.drain()
        for options in ({"dryRun": True}, {}):
            assert redrive(**options)[0] == {"ended": 1}
    assert basic_user.fetch_message(room, message)["status"] == "answered"


def test_a_prompt_that_is_answered_during_a_redrive_is_not_queued_again(
    basic_user: Person, failed_prompt: tuple[str, str], worker: Poller, wire: Wire
) -> None:
    room, message = failed_prompt

    def answer() -> None:
        assert basic_user.retry(room, message).status == 202
        worker.drain()

    wire.cut(TRANSACT, "meanwhile", do=answer, holding=(room,))
    assert redrive()[0] == {"ended": 1}
    assert basic_user.fetch_message(room, message)["status"] == "answered"


def test_a_retried_prompt_that_fails_again_is_redriven_once(
    basic_user: Person, failed_prompt: tuple[str, str], worker: Poller, google: StandIn
) -> None:
    room, message = failed_prompt
    google.fault("error", status=503)
    basic_user.retry(room, message)
    worker.drain()
    assert redrive()[0] == {"queued": 1}


@pytest.mark.usefixtures("failed_prompt")
def test_an_operator_can_limit_a_redrive_to_the_last_hours_or_to_one_failure_reason(
    basic_user: Person, worker: Poller, google: StandIn
) -> None:
    google.fault("error", status=403, match="billing")
    refused = basic_user.ask(basic_user.open_room(), "billing")
    worker.drain()
    done, said = redrive(hours=0)
    assert done == {"queued": 1}, "more than the dead letter was redriven"
    assert said.splitlines() == [
        f"{refused}: queued again",
        "1 of 1 queued again: service-refused 1.",
    ]
    assert redrive(failure="model-retired")[0] == {}
    done, said = redrive(failure="gemini-unavailable")
    assert done == {"queued": 1}
    assert said.endswith("1 of 1 queued again: gemini-unavailable 1.")


@pytest.mark.usefixtures("failed_prompt")
def test_the_cost_of_a_redriven_prompt_is_added_to_the_users_spending(
    basic_user: Person, worker: Poller
) -> None:
    redrive()
    worker.drain()
    usage = Usage.get(basic_user.id, times.day(clock.now()), consistent_read=True)
    assert (usage.reserved, usage.in_flight) == (0, 0)
    assert usage.committed > 0


def test_a_blocked_prompt_is_not_redriven(
    basic_user: Person, worker: Poller, google: StandIn
) -> None:
    room = basic_user.open_room()
    google.fault("blocked")
    basic_user.ask(room)
    worker.drain()
    send_dead_letter(job_of(room))
    assert redrive()[0] == {"ended": 1}
    assert next(prompts(room)).status == "failed"


def test_an_unfinished_prompt_is_not_redriven(basic_user: Person, worker: Poller) -> None:
    room = basic_user.open_room()
    basic_user.ask(room)
    send_dead_letter(job_of(room))
    assert redrive()[0] == {"waiting": 1}
    worker.drain()
    assert next(prompts(room)).status == "answered"


@pytest.mark.parametrize("body", ["no job", job_of(NO_ROOM)])
def test_a_redrive_removes_a_dead_letter_that_names_no_prompt(body: str) -> None:
    send_dead_letter(body)
    assert sum(redrive()[0].values()) == 1
    assert count_dead_letters() == 0


def test_a_dry_run_shows_the_output_of_the_redrive_and_changes_nothing(
    basic_user: Person, failed_prompt: tuple[str, str]
) -> None:
    room, message = failed_prompt
    send_dead_letter(job_of(NO_ROOM))
    before = [vars(item) for item in messages_in(room)]
    done, said = redrive(dryRun=True)
    assert done == {"ended": 1, "queued": 1}
    assert said.endswith("1 of 2 queued again: gemini-unavailable 1.")
    assert [vars(item) for item in messages_in(room)] == before
    assert count_dead_letters() == 1
    assert redrive() == (done, said)
    assert basic_user.fetch_message(room, message)["status"] == "queued"


@pytest.mark.parametrize("call", [TRANSACT, SEND])
@pytest.mark.parametrize("how", ["dies before", "dies after"])
def test_an_aborted_redrive_loses_no_prompt(
    call: str,
    how: str,
    basic_user: Person,
    failed_prompt: tuple[str, str],
    worker: Poller,
    wire: Wire,
) -> None:
    room, message = failed_prompt
    wire.cut(call, how, holding=(message,) if call.startswith("dynamodb") else ("",))
    with pytest.raises(Died):
        redrive()
    wire.reset()
    recover(worker, [room])
    was_queued = (call, how) != (TRANSACT, "dies before")
    assert basic_user.fetch_message(room, message)["status"] == (
        "answered" if was_queued else "failed"
    )
    assert len(operators.read_audit(basic_user.id)) == was_queued
    assert basic_user.count_prompts() == 0


def test_a_redrive_is_recorded_before_the_first_prompt_is_queued_and_takes_effect_once(
    failed_prompt: tuple[str, str], basic_user: Person, wire: Wire
) -> None:
    act = {"act": "redrive", "id": ids.new("a"), "reason": "the outage is over", "hours": 1.0}
    wire.cut(TRANSACT, "dies before", holding=(failed_prompt[1],))
    with pytest.raises(Died):
        operators.send(act)
    wire.reset()
    entry = Audit.get("stage", act["id"])
    assert (entry.act, entry.operator, entry.reason) == ("redrive", operators.ROOT, act["reason"])
    assert operators.send(act)["data"]["doneBefore"] is True
    assert basic_user.fetch_message(*failed_prompt)["status"] == "failed"
    assert redrive()[0] == {"queued": 1}
    assert redrive()[0] == {}
    [of_user] = operators.ask(ask="audit", userId=basic_user.id)["data"]["acts"]
    assert (of_user["act"], of_user["operator"]) == ("redrive", operators.ROOT)
    assert of_user["details"] == {"prompt": failed_prompt[1], "failure": "gemini-unavailable"}
    of_day = operators.ask(ask="audit", day=of_user["at"][:10])["data"]["acts"]
    assert basic_user.id not in [one["userId"] for one in of_day]
    refused = operators.send(act | {"id": ids.new("a"), "failure": "blocked"})
    assert refused["error"] == "bad-request"
