"""Live replies: the worker's CPU time, the delay of the first text, and ten rooms in one batch.

Services answer over TLS, with the delays that cost/prices.toml assumes. The worker has the share of
a CPU that its memory size gives it, or a whole CPU while its CPU time is measured.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from geminichat.domain import times
from tests.bench import streaming, subjects
from tests.bench.capacity import demand
from tests.bench.cost.model import WORKER, memory_of, share_of
from tests.bench.host import BenchError, Function
from tests.bench.lab import Contender, Lab, require_success
from tests.bench.memory import BATCH, DELAYS
from tests.bench.standins import Call, Item, World
from tests.bench.throttle import throttle

CHUNKS, BETWEEN = streaming.CHUNKS, 0.05
SECONDS = CHUNKS * BETWEEN
TIMES = 10
FIRST_TEXTS = 50
BATCHES = 5


@dataclass(frozen=True)
class Figures:
    """The figures, all medians except `first_text_95`, `posts`, `reads` and `writes`."""

    unwatched: float
    watched: float
    """Milliseconds of CPU per reply."""
    first_text: float
    first_text_95: float
    """Seconds from Gemini's first piece to the first post: median and 95th percentile."""
    one: float
    ten: float
    """Seconds until the last reply of a batch is stored, with one room and with ten."""
    posts: int
    """The posts of a watched reply."""
    reads: float
    writes: float
    """The additional units of a watched reply."""


@dataclass(frozen=True)
class Answered:
    """One invocation: its seconds of CPU, the moment at which it began, and its calls."""

    cpu: float
    began: float
    calls: Sequence[Call]

    def first_text(self) -> float:
        """Return the seconds from Gemini's first piece to the first post."""
        asked, posted = self._calls("streamGenerateContent"), self._calls("PostToConnection")
        return posted[0].began - asked[0].ended

    def seconds(self) -> float:
        """Return the seconds until the last reply was stored."""
        return self._calls("TransactWriteItems")[-1].ended - self.began

    def _calls(self, operation: str) -> list[Call]:
        return [call for call in self.calls if call.operation == operation]


def measure(lab: Lab) -> Figures:
    """Return the figures of the built worker, with services that answer over TLS."""
    with lab.use_tls() as secured:
        return _measure(secured, secured.ours(WORKER))


def _measure(lab: Lab, worker: Contender) -> Figures:
    reply = streaming.PIECE * CHUNKS
    pauses = {**DELAYS, "gemini": 0.0, "connections": DELAYS["dynamodb"]}
    unwatched_world = replace(
        worker.world, reply=reply, chunks=CHUNKS, between=BETWEEN, pauses=pauses
    )
    table = lab.settings.values.refs["LiveTable"]
    item = {**unwatched_world.tables[table], **_connection()}
    watched_world = replace(unwatched_world, tables={**unwatched_world.tables, table: item})
    short = replace(watched_world, chunks=4)
    with lab.start(worker, unwatched_world) as function:
        for world in (unwatched_world, short):
            _answer(lab, function, world, BATCH)  # opens the connections
        unwatched = [_answer(lab, function, unwatched_world) for _ in range(TIMES)]
        watched = [_answer(lab, function, watched_world) for _ in range(TIMES)]
        with throttle(function.process, share_of(memory_of(WORKER))):
            first = sorted(_answer(lab, function, short).first_text() for _ in range(FIRST_TEXTS))
            one = [_answer(lab, function, watched_world).seconds() for _ in range(BATCHES)]
            ten = [_answer(lab, function, watched_world, BATCH).seconds() for _ in range(BATCHES)]
    usual, shown = (demand(it[-1].calls, lab.settings) for it in (unwatched, watched))
    return Figures(
        statistics.median(it.cpu for it in unwatched) * 1e3,
        statistics.median(it.cpu for it in watched) * 1e3,
        statistics.median(first),
        first[int(0.95 * len(first)) - 1],
        statistics.median(one),
        statistics.median(ten),
        shown.services["connections"],
        shown.reads - usual.reads,
        shown.writes - usual.writes,
    )


def _connection() -> Item:
    """Return the attributes that a connection adds to its user's item in the live table."""
    until = subjects.NOW + timedelta(hours=1)
    entry = {
        "session": subjects.SESSION,
        "until": int(until.timestamp()),
        "opened": times.millis(subjects.NOW),
    }
    return {"connections": {"c1": entry}}


def _answer(lab: Lab, function: Function, world: World, rooms: int = 1) -> Answered:
    """Invoke the worker with one prompt from each of this many rooms; return the measurement."""
    lab.host.world = now = replace(world, calls=[], asked=0)
    function.wait_until_ready()
    before, began = function.cpu(), time.monotonic()
    _, answer = function.invoke(subjects.sqs_event(rooms))
    require_success(function.name, answer)
    function.wait_until_ready()
    asked = sum(call.service == "gemini" for call in now.calls)
    if asked != rooms:
        raise BenchError(f"{asked} of {rooms} prompts were answered:\n{function.log()}")
    return Answered(function.cpu() - before, began, now.calls)
