"""The worker: parallel rooms, ordered prompts, leases, retries with pauses, and the history."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from geminichat import config
from geminichat.domain import history
from geminichat.domain.messages import Failure, Finish, Reply, Status, TokenUsage
from geminichat.domain.retries import MAX_NAMED_PAUSE
from geminichat.operations import finish_prompt
from geminichat.tables.messages import leases
from geminichat.tables.messages.leases import LeaseLost
from geminichat.tables.messages.stored import StoredMessage
from tests.support.aftermath import check, recover, run_sweep
from tests.support.gemini_answers import INPUTS
from tests.support.gemini_events import last, piece
from tests.support.lambdas import Context, Poller, handler_of
from tests.support.parallel import wait_until
from tests.support.person import Person
from tests.support.queues import count_messages, job_of, purge, send_dead_letter
from tests.support.standins import StandIn
from tests.support.stored import NO_ROOM, count_prompts, end_leases, messages_in, prompts
from tests.support.template import Values
from tests.support.wire import HIDE, HIDES, SEND, TRANSACT, UPDATE, Died, Wire


def make_event(*jobs: tuple[str, int] | str, received: int = 1) -> dict[str, Any]:
    """Return the SQS event of a batch: jobs (room and position), or other message bodies."""
    records = []
    for number, job in enumerate(jobs):
        body = job if isinstance(job, str) else job_of(*job)
        group = "poison" if isinstance(job, str) else job[0]
        records.append(
            {
                "messageId": f"message-{number}",
                "receiptHandle": f"handle {number}",
                "body": body,
                "attributes": {
                    "MessageGroupId": group,
                    "ApproximateReceiveCount": str(received),
                },
            }
        )
    return {"Records": records}


def work(batch: dict[str, Any], seconds: float = 270) -> list[str]:
    """Run the worker on a batch; return the numbers of the messages to deliver again."""
    answer = handler_of("GeminiWorker")(batch, Context("GeminiWorker", seconds))
    return [one["itemIdentifier"].split("-")[1] for one in answer["batchItemFailures"]]


def list_pauses(wire: Wire) -> list[int]:
    """Return the seconds for which the worker hid messages after failed attempts."""
    return [
        entry["VisibilityTimeout"]
        for seen in wire.tries
        if seen.call == HIDE and seen.thread != HIDES
        for entry in json.loads(seen.body)["Entries"]
    ]


def read_dead_letters(values: Values) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each dead letter's body and reason."""
    received = boto3.client("sqs").receive_message(
        QueueUrl=values.refs["DeadLettersQueue"],
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        VisibilityTimeout=0,
    )
    for letter in received.get("Messages", []):
        yield json.loads(letter["Body"]), letter["MessageAttributes"]["reason"]["StringValue"]


HALF, DONE = piece("Half of it. "), last("Done.")


def load_refusal(name: str) -> dict[str, Any]:
    """Return the stand-in's fault that sends a recorded error answer of Google."""
    return {"kind": "answer", **json.loads((INPUTS / f"{name}.json").read_text())}


def make_reply(content: str) -> Reply:
    tokens = TokenUsage(input_tokens=1, output_tokens=1)
    return Reply(content, tokens, "gemini-3.6-flash", Finish.COMPLETE)


@pytest.fixture
def room(pro_user: Person) -> str:
    return pro_user.open_room()


# ── Order ────────────────────────────────────────────────────────────────────────────────────────


def test_the_rooms_of_a_batch_are_answered_in_parallel(
    pro_user: Person, worker: Poller, google: StandIn
) -> None:
    rooms = [pro_user.open_room() for _ in range(5)]
    google.fault("stall", seconds=1.5, times=5)
    sent = {room: pro_user.ask(room) for room in rooms}
    worker.poll()
    asked = [request["time"] for request in google.requests()]
    assert max(asked) - min(asked) < 1.5, (
        "Gemini was asked for the last reply after the first one had arrived"
    )
    for room, message in sent.items():
        assert pro_user.fetch_message(room, message)["status"] == "answered"


def test_a_rooms_prompts_are_answered_in_order_with_their_history(
    pro_user: Person, room: str, worker: Poller, google: StandIn
) -> None:
    said = [f"prompt {number}" for number in range(6)]
    for content in said:
        pro_user.ask(room, content)
    worker.poll()
    contents = [request["contents"] for request in google.requests()]
    assert [turns[-1]["parts"][0]["text"] for turns in contents] == said
    assert [len(turns) for turns in contents] == [1, 3, 5, 7, 9, 11]
    senders = [message.sender for message in messages_in(room)]
    assert senders == ["user", "ai"] * 6


def test_a_rooms_next_prompt_does_not_wait_for_a_slow_room_of_the_batch(
    pro_user: Person, worker: Poller, google: StandIn, values: Values
) -> None:
    slow, quick = pro_user.open_room(), pro_user.open_room()
    google.fault("stall", seconds=float(os.environ.get("SLOW_ROOM_SECONDS", "6")), match="slow")
    pro_user.ask(slow, "slow")
    first = pro_user.ask(quick, "one")
    with ThreadPoolExecutor() as pool:
        batch = pool.submit(worker.poll)
        while pro_user.fetch_message(quick, first)["status"] != "answered":
            time.sleep(0.02)
        second = pro_user.ask(quick, "two")
        other = Poller([values.refs["ProPromptsQueue"]], "GeminiWorker")
        wait_until(lambda: other.poll().bodies, seconds=30)
        assert pro_user.fetch_message(quick, second)["status"] == "answered"
        assert count_messages("ProPromptsQueue") == (0, 1)
        assert not batch.done()
    assert count_messages("ProPromptsQueue") == (0, 0)


def test_prompts_with_lost_queue_messages_are_answered_before_the_rooms_next_prompt(
    pro_user: Person, room: str, worker: Poller, google: StandIn, wire: Wire
) -> None:
    wire.cut(SEND, "refused", times=4)
    for content in ("one", "two", "three"):
        pro_user.ask(room, content)
    worker.poll()
    contents = [request["contents"] for request in google.requests()]
    assert [turns[-1]["parts"][0]["text"] for turns in contents] == ["one", "two", "three"]
    assert [len(turns) for turns in contents] == [1, 3, 5]
    assert [int(prompt.attempts) for prompt in prompts(room)] == [1, 1, 1]


def test_a_prompt_waits_while_an_earlier_prompt_with_a_lost_queue_message_is_paused(
    pro_user: Person, room: str, worker: Poller, google: StandIn, wire: Wire
) -> None:
    wire.cut(SEND, "refused", times=2)
    google.fault("error", status=503)
    sent = [pro_user.ask(room, content) for content in ("one", "two")]
    wire.reset()
    assert len(worker.poll().failed) == 1
    assert [int(prompt.attempts) for prompt in prompts(room)] == [1, 0]
    assert 4 <= list_pauses(wire)[0] <= 6
    worker.redeliver()
    worker.drain()
    assert [pro_user.fetch_message(room, one)["status"] for one in sent] == ["answered", "answered"]
    assert [len(request["contents"]) for request in google.requests()] == [1, 1, 3]


def test_later_prompts_of_a_room_wait_for_a_prompt_that_is_paused(
    pro_user: Person, room: str, worker: Poller, google: StandIn, wire: Wire
) -> None:
    google.fault("error", status=503)
    sent = [pro_user.ask(room, f"prompt {number}") for number in range(3)]
    wire.reset()
    assert len(worker.poll().failed) == 3
    assert len(set(list_pauses(wire))) == 1
    assert len(list_pauses(wire)) == 3
    assert len(google.requests()) == 1
    statuses = [pro_user.fetch_message(room, message)["status"] for message in sent]
    assert statuses == ["queued"] * 3
    worker.redeliver()
    worker.drain()
    assert [message.sender for message in messages_in(room)] == ["user", "ai"] * 3
    contents = [request["contents"][-1]["parts"][0]["text"] for request in google.requests()]
    assert contents == ["prompt 0", "prompt 0", "prompt 1", "prompt 2"]


def test_a_failure_in_one_room_does_not_affect_other_rooms(
    pro_user: Person, worker: Poller, google: StandIn
) -> None:
    faults: dict[str, dict[str, Any]] = {
        "fine": {},
        "throttled": {"kind": "error", "status": 429},
        "blocked": {"kind": "blocked"},
        "garbage": {"kind": "garbage"},
        "cut off": {"kind": "drop"},
    }
    rooms = {name: pro_user.open_room() for name in faults}
    ends: dict[str, list[str]] = {}
    for name, fault in faults.items():
        if fault:
            google.fault(**fault, match=f"{name} one")
        ends[name] = [pro_user.ask(rooms[name], f"{name} {which}") for which in ("one", "two")]
    assert len(worker.poll().failed) == 6
    looks = {
        name: [pro_user.fetch_message(rooms[name], message)["status"] for message in messages]
        for name, messages in ends.items()
    }
    assert looks == {
        "fine": ["answered", "answered"],
        "blocked": ["failed", "answered"],
        "throttled": ["queued", "queued"],
        "garbage": ["queued", "queued"],
        "cut off": ["queued", "queued"],
    }
    recover(worker, rooms.values())
    check(pro_user, rooms.values(), [message for sent in ends.values() for message in sent])


def test_only_the_queue_message_of_the_room_with_an_error_is_delivered_again(
    pro_user: Person, worker: Poller, wire: Wire
) -> None:
    rooms = [pro_user.open_room() for _ in range(3)]
    sent = [pro_user.ask(room) for room in rooms]
    wire.cut(UPDATE, "failing", times=2, holding=(rooms[1],))
    assert len(worker.poll().failed) == 1
    statuses = [
        pro_user.fetch_message(room, message)["status"]
        for room, message in zip(rooms, sent, strict=True)
    ]
    assert statuses == ["answered", "queued", "answered"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "{}",
        "[]",
        '{"chatroomId": "", "seq": 1}',
        '{"chatroomId": "r_1", "seq": 1}',
        f'{{"chatroomId": "{NO_ROOM}", "seq": 0}}',
        f'{{"chatroomId": "{NO_ROOM}", "seq": -1}}',
        f'{{"chatroomId": "{NO_ROOM}", "seq": 1e99}}',
        f'{{"chatroomId": "{NO_ROOM}", "seq": "1"}}',
        f'{{"chatroomId": "{NO_ROOM}", "seq": 12}}',
    ],
)
def test_a_queue_message_that_is_not_a_job_is_dropped_and_does_not_delay_other_messages(
    body: str, pro_user: Person, room: str
) -> None:
    message = pro_user.ask(room)
    assert work(make_event(body, (room, 1))) == []
    assert pro_user.fetch_message(room, message)["status"] == "answered"
    if body:  # SQS accepts no empty body
        send_dead_letter(body)
        late = pro_user.ask(room)
        purge("ProPromptsQueue")
        assert run_sweep(timedelta(hours=1))["queued"] >= 1
        assert pro_user.fetch_message(room, late)["status"] == "queued"


# ── Leases ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.any_write_order
def test_parallel_workers_on_one_prompt_store_one_reply(
    pro_user: Person, room: str, google: StandIn
) -> None:
    message = pro_user.ask(room)
    google.fault("stall", seconds=0.3)
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: work(make_event((room, 1))), range(4)))
    assert len(google.requests()) == 1
    assert sorted(kept) == [[], ["0"], ["0"], ["0"]]
    check(pro_user, [room], [message])


@pytest.mark.any_write_order
def test_a_worker_that_lost_its_lease_neither_answers_nor_fails_the_prompt(
    pro_user: Person, room: str
) -> None:
    message = pro_user.ask(room)
    now, minute = datetime.now(UTC), timedelta(minutes=1)
    slow = leases.lease_prompt(room, 1, "l_slow", now, minute)
    assert slow
    assert leases.lease_prompt(room, 1, "l_fast", now, minute) is None
    end_leases(room)
    fast = leases.lease_prompt(room, 1, "l_fast", now, minute)
    assert fast
    assert fast.attempts == 2
    with pytest.raises(LeaseLost):
        finish_prompt.answer(slow, make_reply("slow"), now)
    with pytest.raises(LeaseLost):
        finish_prompt.fail(slow, Failure(code="x", message="x"), now)
    leases.release_prompt(slow)
    finish_prompt.answer(fast, make_reply("fast"), now)
    with pytest.raises(LeaseLost):
        finish_prompt.answer(fast, make_reply("again"), now)
    assert pro_user.fetch_message(room, message)["reply"]["content"] == "fast"
    assert pro_user.count_prompts() == 1


def test_a_prompt_of_a_crashed_worker_is_answered_after_the_lease_ends(
    pro_user: Person, room: str, worker: Poller, wire: Wire
) -> None:
    message = pro_user.ask(room)
    wire.cut(TRANSACT, "dies before")
    with pytest.raises(Died):
        worker.poll()
    wire.reset()
    assert work(make_event((room, 1))) == ["0"]
    [pause] = list_pauses(wire)
    assert 15 < pause <= 20
    end_leases(room)
    assert work(make_event((room, 1))) == []
    assert pro_user.fetch_message(room, message)["status"] == "answered"


def test_a_redelivered_prompt_is_answered_once(
    pro_user: Person, room: str, google: StandIn
) -> None:
    pro_user.ask(room)
    batch = make_event((room, 1), (room, 1), received=3)
    assert work(batch) == []
    assert work(batch) == []
    assert len(google.requests()) == 1
    assert [message.sender for message in messages_in(room)] == ["user", "ai"]


def test_an_attempt_that_raises_an_error_releases_its_prompt(
    pro_user: Person, room: str, wire: Wire
) -> None:
    """Without the release, the next attempt would wait until the lease ends."""
    message = pro_user.ask(room)
    wire.cut(TRANSACT, "failing", times=2)
    assert work(make_event((room, 1))) == ["0"]
    assert pro_user.fetch_message(room, message)["status"] == "queued"
    assert work(make_event((room, 1))) == []
    assert pro_user.fetch_message(room, message)["status"] == "answered"


# ── Pauses, attempts and time ─────────────────────────────────────────────────────────────────────


def test_a_prompt_fails_without_a_dead_letter_after_six_attempts_with_doubling_pauses(
    basic_user: Person, google: StandIn, wire: Wire, values: Values
) -> None:
    room = basic_user.open_room()
    message = basic_user.ask(room)
    google.fault("error", status=503, times="always")
    wire.reset()
    for _ in range(5):
        assert work(make_event((room, 1))) == ["0"]
    grown = list_pauses(wire)
    for number, pause in enumerate(grown):
        assert 4 * 2**number <= pause <= 4 * 2**number * 1.25 + 1
    assert basic_user.count_prompts() == 1
    assert work(make_event((room, 1))) == []
    end = basic_user.fetch_message(room, message)
    assert (end["status"], end["error"]["code"]) == ("failed", "gemini-unavailable")
    assert "try it again" in end["error"]["message"]
    assert basic_user.count_prompts() == 0
    assert len(google.requests()) == 6
    assert list(read_dead_letters(values)) == []


def test_a_dead_letter_names_the_generation_of_a_retried_prompt(
    basic_user: Person, worker: Poller, google: StandIn, values: Values
) -> None:
    room = basic_user.open_room()
    google.fault("blocked")
    message = basic_user.ask(room)
    worker.drain()
    assert basic_user.retry(room, message).status == 202
    next(prompts(room)).update([StoredMessage.attempts.set(6)])
    work(make_event((room, 1)))  # a message of the first generation
    [(job, _)] = read_dead_letters(values)
    assert job["generation"] == str(messages_in(room)[0].generation) != "0"


@pytest.mark.parametrize(
    ("status", "named", "least", "most"),
    [
        (503, "33.5s", 34, 36),
        (429, "999999s", MAX_NAMED_PAUSE, MAX_NAMED_PAUSE),
        (429, "1s", 4, 6),
        *((429, malformed, 4, 6) for malformed in ("", "-5s", "nans", "infs", "1e9s", "5")),
    ],
)
def test_a_prompt_is_paused_for_at_least_the_retry_delay_that_gemini_names(
    status: int, named: str, least: int, most: int, room: str, pro_user: Person, google: StandIn,
    wire: Wire,
) -> None:  # fmt: skip
    pro_user.ask(room)
    google.fault("error", status=status, retryDelay=named)
    wire.reset()
    assert work(make_event((room, 1))) == ["0"]
    [pause] = list_pauses(wire)
    assert least <= pause <= most


def test_a_prompt_fails_after_all_attempts_crashed(
    basic_user: Person, google: StandIn, values: Values
) -> None:
    room = basic_user.open_room()
    message = basic_user.ask(room)
    next(prompts(room)).update([StoredMessage.attempts.set(6)])
    assert work(make_event((room, 1))) == []
    assert basic_user.fetch_message(room, message)["status"] == "failed"
    assert google.requests() == []
    [(_, reason)] = read_dead_letters(values)
    assert reason == "every attempt broke off"
    assert basic_user.count_prompts() == 0


def test_an_attempt_is_not_started_without_enough_time(
    pro_user: Person, room: str, google: StandIn, wire: Wire
) -> None:
    pro_user.ask(room)
    wire.reset()
    assert work(make_event((room, 1)), seconds=10.5) == ["0"]
    assert list_pauses(wire) == [0]
    assert google.requests() == []
    assert not next(prompts(room)).attempts


def test_a_later_prompt_of_a_batch_is_started_only_if_the_full_timeout_of_gemini_is_left(
    pro_user: Person, room: str, google: StandIn
) -> None:
    for _ in range(2):
        pro_user.ask(room)
    seconds = config.number("GEMINI_TIMEOUT") + 9  # less than the timeout and the margin
    assert work(make_event((room, 1), (room, 3)), seconds) == ["1"]
    assert [int(prompt.attempts or 0) for prompt in prompts(room)] == [1, 0]
    assert work(make_event((room, 3)), seconds) == []
    assert len(google.requests()) == 2


def test_an_attempt_ends_at_the_timeout_of_gemini(
    pro_user: Person, room: str, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_TIMEOUT", "1")
    pro_user.ask(room)
    google.fault("stall", seconds=60)
    began = time.monotonic()
    assert work(make_event((room, 1))) == ["0"]
    assert time.monotonic() - began < 30


# ── Gemini's answers ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reason", ["SAFETY", "PROHIBITED_CONTENT", "SPII"])
def test_a_declined_prompt_fails_at_once_without_a_dead_letter(
    reason: str, basic_user: Person, google: StandIn, values: Values
) -> None:
    room = basic_user.open_room()
    message = basic_user.ask(room)
    google.fault("finish", reason=reason)
    assert work(make_event((room, 1))) == []
    end = basic_user.fetch_message(room, message)
    assert (end["status"], end["error"]["code"], end["reply"]) == ("failed", "blocked", None)
    assert basic_user.count_prompts() == 1
    assert list(read_dead_letters(values)) == []


@pytest.mark.parametrize(
    ("fault", "attempts", "code", "counted", "letters"),
    [
        ({"kind": "finish", "reason": "RECITATION"}, 3, "recitation", 1, 0),
        ({"kind": "stall", "seconds": 5}, 2, "timed-out", 1, 0),
        ({"kind": "answer", "events": [HALF], "hold": 5}, 2, "timed-out", 1, 0),
        (
            {"kind": "answer", "events": [HALF], "pause": 0.2, "repeat": 100},
            1,
            "reply-too-slow",
            1,
            0,
        ),
        (load_refusal("daily-quota-429"), 1, "service-refused", 0, 1),
        (load_refusal("location-400"), 1, "service-refused", 0, 1),
        (load_refusal("list400"), 1, "not-accepted", 1, 0),
        (load_refusal("list429"), 6, "gemini-unavailable", 0, 0),
        ({"kind": "error", "status": 403}, 6, "service-refused", 0, 1),
        ({"kind": "finish", "reason": "MAX_TOKENS"}, 1, "reply-too-long", 1, 0),
    ],
)
def test_each_error_of_gemini_leads_to_the_expected_attempts_and_error_code(
    fault: dict[str, Any],
    attempts: int,
    code: str,
    counted: int,
    letters: int,
    basic_user: Person,
    google: StandIn,
    values: Values,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GEMINI_SILENCE", "1")
    monkeypatch.setenv("GEMINI_TIMEOUT", "2")
    room = basic_user.open_room()
    message = basic_user.ask(room)
    google.fault(**fault, times="always")
    for number in range(1, attempts + 1):
        assert work(make_event((room, 1))) == (["0"] if number < attempts else [])
    end = basic_user.fetch_message(room, message)
    assert (end["status"], end["error"]["code"]) == ("failed", code)
    assert len(google.requests()) == attempts
    assert basic_user.count_prompts() == counted
    assert len(list(read_dead_letters(values))) == letters


def test_a_prompt_is_retried_with_the_least_thinking_after_gemini_was_silent(
    pro_user: Person, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_SILENCE", "1")
    room = pro_user.open_room(model="gemini-3.6-flash", thinking="high")
    message = pro_user.ask(room)
    google.fault("stall", seconds=2.5)
    assert work(make_event((room, 1))) == ["0"]
    assert work(make_event((room, 1))) == []
    assert pro_user.fetch_message(room, message)["status"] == "answered"
    levels = [
        request["generationConfig"]["thinkingConfig"]["thinkingLevel"]
        for request in google.requests()
    ]
    assert levels == ["high", "minimal"]


def test_an_answer_may_take_longer_than_the_limit_of_silence(
    pro_user: Person, room: str, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are 60 times shorter than in the template."""
    monkeypatch.setenv("GEMINI_SILENCE", "1")
    monkeypatch.setenv("GEMINI_TIMEOUT", "3")
    google.fault("answer", events=[HALF] * 9 + [DONE], pause=0.25)
    message = pro_user.ask(room)
    assert work(make_event((room, 1))) == []
    reply = pro_user.fetch_message(room, message)["reply"]
    assert reply["content"] == "Half of it. " * 9 + "Done."
    assert reply["usage"] == {"inputTokens": 8, "outputTokens": 12}


def test_an_endless_or_silent_or_huge_answer_of_gemini_does_not_delay_other_rooms(
    pro_user: Person, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_SILENCE", "1")
    monkeypatch.setenv("GEMINI_TIMEOUT", "2")
    faults: dict[str, dict[str, Any]] = {
        "drips": {"kind": "answer", "events": [HALF], "pause": 0.2, "repeat": 1_000},
        "stalls": {"kind": "answer", "events": [HALF], "hold": 60},
        "5 MB": {"kind": "answer", "events": [*[piece("x" * 50_000)] * 100, DONE]},
        "fine": {},
    }
    rooms = {name: pro_user.open_room() for name in faults}
    sent = {}
    for name, fault in faults.items():
        if fault:
            google.fault(**fault, match=name)
        sent[name] = pro_user.ask(rooms[name], name)
    began = time.monotonic()
    waiting = work(make_event(*((room, 1) for room in rooms.values())))
    assert time.monotonic() - began < 30
    assert len(waiting) == 1
    ends = {name: pro_user.fetch_message(rooms[name], message) for name, message in sent.items()}
    assert {name: end["status"] for name, end in ends.items()} == {
        "drips": "failed",
        "stalls": "queued",
        "5 MB": "answered",
        "fine": "answered",
    }
    assert ends["5 MB"]["reply"]["finish"] == "length"
    assert len(ends["5 MB"]["reply"]["content"]) == 350_000


def test_the_history_keeps_the_end_of_a_long_reply_and_earlier_short_turns(
    pro_user: Person, room: str, google: StandIn
) -> None:
    google.fault("answer", match="Write", events=[piece("x" * 72_790 + " the end."), DONE])
    for number, content in enumerate(
        ["My name is Ada and I live in Oslo.", "Write a very long text", "continue"]
    ):
        pro_user.ask(room, content)
        work(make_event((room, 2 * number + 1)))
    texts = [turn["parts"][0]["text"] for turn in google.requests()[-1]["contents"]]
    assert texts[0] == "My name is Ada and I live in Oslo."
    assert texts[2] == "Write a very long text"
    assert texts[3].startswith(history.CUT)
    assert texts[3].endswith("the end.Done.")
    assert 59_000 < sum(len(text) for text in texts[:-1]) <= 60_000


def test_a_prompt_is_retried_after_a_wrong_api_key(
    pro_user: Person, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = pro_user.ask(room)
    right = config.setting("GEMINI_KEY_PARAMETER")
    monkeypatch.setenv("GEMINI_KEY_PARAMETER", config.setting("UPSTASH_TOKEN_PARAMETER"))
    assert work(make_event((room, 1))) == ["0"]
    assert pro_user.fetch_message(room, message)["status"] == "queued"
    monkeypatch.setenv("GEMINI_KEY_PARAMETER", right)
    assert work(make_event((room, 1))) == []
    assert pro_user.fetch_message(room, message)["status"] == "answered"


def test_a_prompt_uses_the_settings_of_its_room_at_the_time_it_was_sent(
    pro_user: Person, google: StandIn
) -> None:
    room = pro_user.open_room(
        systemInstruction="Be brief.", model="gemini-3.7-flash", thinking="low"
    )
    pro_user.ask(room)
    change = {"systemInstruction": None, "model": "gemini-3.6-flash", "thinking": "high"}
    pro_user.request("PATCH", f"/chatroom/{room}", json=change)
    work(make_event((room, 1)))
    [request] = google.requests()
    assert (request["model"], request["systemInstruction"]) == ("gemini-3.7-flash", "Be brief.")
    assert request["generationConfig"] == {
        "maxOutputTokens": 32_768,
        "thinkingConfig": {"thinkingLevel": "low"},
    }
    reply = messages_in(room)[1]
    assert reply.model == "gemini-3.7-flash"
    assert not reply.requested_model


def test_a_reply_names_its_prompt_and_its_model_and_its_tokens(pro_user: Person, room: str) -> None:
    message = pro_user.ask(room, "1234")
    work(make_event((room, 1)))
    reply = pro_user.fetch_message(room, message)["reply"]
    assert reply["replyTo"] == message
    assert (reply["sender"], reply["model"]) == ("ai", "gemini-3.5-flash-lite")
    assert (reply["requestedModel"], reply["finish"]) == ("fast", "complete")
    assert reply["usage"]["inputTokens"] == 1
    assert reply["usage"]["outputTokens"] > 1
    assert pro_user.fetch_message(room, reply["id"]) == reply


def test_the_history_has_only_answered_turns_within_the_limits_of_the_settings(
    pro_user: Person, room: str, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.fault("blocked", match="never")
    said = ["one", "never", "two", "three", "four"]
    for number, content in enumerate(said):
        pro_user.ask(room, content)
        work(make_event((room, 2 * number + 1)))

    def sent_prompts() -> list[str]:
        turns = google.requests()[-1]["contents"]
        return [turn["parts"][0]["text"] for turn in turns if turn["role"] == "user"]

    assert sent_prompts() == ["one", "two", "three", "four"]
    monkeypatch.setenv("HISTORY_TURNS", "2")
    pro_user.ask(room, "five")
    work(make_event((room, 11)))
    assert sent_prompts() == ["three", "four", "five"]
    monkeypatch.setenv("HISTORY_CHARACTERS", "40")
    pro_user.ask(room, "six")
    work(make_event((room, 13)))
    assert sent_prompts() == ["five", "six"]
    assert google.requests()[-1]["contents"][1]["parts"][0]["text"].startswith(history.CUT)
    monkeypatch.setenv("HISTORY_TURNS", "0")
    pro_user.ask(room, "seven")
    work(make_event((room, 15)))
    assert sent_prompts() == ["seven"]


def test_the_history_of_a_retried_prompt_has_only_earlier_turns(
    pro_user: Person, room: str, google: StandIn, worker: Poller
) -> None:
    google.fault("blocked", match="two")
    sent = [pro_user.ask(room, content) for content in ("one", "two", "three")]
    worker.drain()
    google.reset()
    assert pro_user.retry(room, sent[1]).status == 202
    worker.drain()
    [request] = google.requests()
    turns = [turn["parts"][0]["text"] for turn in request["contents"] if turn["role"] == "user"]
    assert turns == ["one", "two"]
    assert [message.sender for message in messages_in(room)] == ["user", "ai"] * 3


def test_a_job_of_a_deleted_room_is_dropped(pro_user: Person, room: str) -> None:
    pro_user.ask(room)
    pro_user.delete(room)
    run_sweep(timedelta(hours=1))
    assert work(make_event((room, 1))) == []
    assert messages_in(room) == []


def test_a_finished_prompt_is_never_leased_again(pro_user: Person, room: str) -> None:
    pro_user.ask(room)
    work(make_event((room, 1)))
    [prompt, _] = messages_in(room)
    assert prompt.status == Status.ANSWERED
    assert leases.lease_prompt(room, 1, "l_x", datetime.now(UTC), timedelta(minutes=1)) is None
    assert count_prompts(pro_user.id, str(prompt.counted_on)) == 1
