"""The duration of requests at each of Lambda's memory sizes; more memory also gives more CPU.

Each function is initialised with a whole CPU, as on Lambda [1], and then limited to the share of
its memory size. Services answer over TLS, with the delays that cost/prices.toml assumes. Of a long
delay (Stripe, Gemini) only the first WAITED seconds pass; the other seconds are added to the
result, because waiting takes the same time at every size.

1. hichaelmart.medium.com/shave-99-93-off-your-lambda-bill-with-this-one-weird-trick-33c0acebb2ea,
   and github.com/DataDog/datadog-lambda-extension/issues/191: one vCPU, for ten seconds at most
"""

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from geminichat.domain.messages import REPLY_SIZE
from tests.bench import subjects
from tests.bench.cost.model import (
    ASSUMED,
    FULL,
    MEMORIES,
    POLL,
    SEND,
    SWEEP,
    WORKER,
    WORKER_LEAST,
    share_of,
)
from tests.bench.host import BenchError, Function
from tests.bench.lab import Contender, Lab, require_success
from tests.bench.standins import World
from tests.bench.throttle import PERIOD, throttle

ROUNDS = 3
TIMES = 6
"""Warm requests after each cold start, unless TIMES_OF has another number."""
TIMES_OF = {"SubscriptionCheckout": 2, "WebhookStripe": 3, SWEEP: 3, WORKER: 2}
TIMES_FULL = 3
"""Full batches after the worker's warm requests; the first one opens nine more connections."""
BATCH = 10

WAITED = 0.05
"""The most seconds of a service's delay that really pass."""
DELAYS: Mapping[str, float] = {
    "dynamodb": ASSUMED["dynamodb_ms"] / 1e3,
    "redis": ASSUMED["redis_ms"] / 1e3,
    "sqs": ASSUMED["sqs_ms"] / 1e3,
    "ssm": ASSUMED["ssm_ms"] / 1e3,
    "stripe": ASSUMED["stripe_ms"] / 1e3,
    "gemini": ASSUMED["model_seconds"],
}

MEASURED = (
    "AuthLogin",
    SEND,
    "ChatroomGetMessage",
    POLL,
    "SubscriptionCheckout",
    "WebhookStripe",
    SWEEP,
    WORKER,
)
"""One function of each kind; `FULL` is the worker with a full batch as its request."""


@dataclass(frozen=True)
class Times:
    """Seconds of one start: the initialisation, the first request and each warm request."""

    init: float
    first: float
    warm: Sequence[float]


@dataclass(frozen=True)
class Figure:
    """A function's milliseconds at one size: medians, and `slow`, the 95th percentile of `warm`."""

    init: float
    first: float
    warm: float
    slow: float

    @classmethod
    def of(cls, times: Sequence[Times]) -> "Figure":
        """Return the figures of several starts."""
        warm = sorted(took for one in times for took in one.warm)
        return cls(
            statistics.median(one.init for one in times) * 1e3,
            statistics.median(one.first for one in times) * 1e3,
            statistics.median(warm) * 1e3,
            warm[math.ceil(0.95 * len(warm)) - 1] * 1e3,
        )


@dataclass(frozen=True)
class Curve:
    """Each function's figures at every memory size, and its peak memory in MB."""

    figures: Mapping[str, Mapping[int, Figure]]
    peaks: Mapping[str, float]


def sizes_of(function: str) -> Sequence[int]:
    """Return the memory sizes at which a function is measured."""
    return [memory for memory in MEMORIES if function != WORKER or memory >= WORKER_LEAST]


def measure(lab: Lab, rounds: int = ROUNDS) -> Curve:
    """Start every function once per round at every size; return the figures and the peaks."""
    with lab.use_tls() as secured:
        return _measure(secured, rounds)


def _measure(lab: Lab, rounds: int) -> Curve:
    contenders = {name: lab.ours(name) for name in MEASURED}
    taken: dict[tuple[str, int], list[Times]] = {}
    peaks: dict[str, float] = {}
    for number in range(rounds):
        for name, contender in contenders.items():
            for memory in sizes_of(name):
                times, full, peak = _run(lab, contender, memory)
                taken.setdefault((name, memory), []).append(times)
                if full.warm:
                    taken.setdefault((FULL, memory), []).append(full)
                peaks[name] = max(peak, peaks.get(name, 0.0))
        print(f"  memory sizes: round {number + 1} of {rounds}", flush=True)
    figures: dict[str, dict[int, Figure]] = {}
    for (name, memory), starts in taken.items():
        figures.setdefault(name, {})[memory] = Figure.of(starts)
    peaks[FULL] = _measure_peak(lab, contenders[WORKER])
    return Curve(figures, peaks)


def _run(lab: Lab, contender: Contender, memory: int) -> tuple[Times, Times, float]:
    """Start a function at a size; return its times, those of full batches, and its peak memory."""
    world = replace(contender.world, pauses={one: min(DELAYS[one], WAITED) for one in DELAYS})
    with lab.start(contender, world) as function:
        init = function.wait_until_ready() - function.started
        with throttle(function.process, share_of(memory)) as rest:
            first = _seconds_of(lab, function, world)
            warm, full = [], []
            for _ in range(TIMES_OF.get(function.name, TIMES)):
                _pause(function, rest)
                warm.append(_seconds_of(lab, function, world))
            if function.name == WORKER:
                for _ in range(TIMES_FULL):
                    _pause(function, rest)
                    full.append(_seconds_of(lab, function, world, rooms=BATCH))
        return Times(init, first, warm), Times(init, first, full), function.peak()


def _pause(function: Function, rest: Callable[[], None]) -> None:
    """Wait until the function is idle, and then for a random part of the quota's period."""
    function.wait_until_ready()
    rest()
    time.sleep(random.uniform(0, PERIOD))


def _seconds_of(lab: Lab, function: Function, world: World, rooms: int = 1) -> float:
    """Send one request, and return its seconds with the assumed delays of its services."""
    lab.host.world = now = replace(world, calls=[], asked=0)
    event = subjects.sqs_event(rooms) if rooms > 1 else None
    function.wait_until_ready()
    began = time.perf_counter()
    answered, answer = function.invoke(event)
    require_success(function.name, answer)
    counts = Counter(call.service for call in now.calls)
    if function.name == WORKER and counts["gemini"] != rooms:
        raise BenchError(f"{counts['gemini']} of {rooms} prompts were answered:\n{function.log()}")
    slow = {service: whole - WAITED for service, whole in DELAYS.items() if whole > WAITED}
    # The calls for one room are sequential; rooms are answered in parallel.
    return answered - began + sum(counts[one] / rooms * rest for one, rest in slow.items())


def _measure_peak(lab: Lab, worker: Contender) -> float:
    """Return the worker's peak memory with a full batch of the longest histories and replies.

    A history has a megabyte, the most that one query returns.
    """
    messages = lab.settings.values.refs["MessagesTable"]
    item = {**worker.world.tables[messages], "content": "x" * 25_000}
    world = replace(
        worker.world,
        tables={**worker.world.tables, messages: item},
        rows=40,
        reply="x" * REPLY_SIZE,
        pauses={"gemini": WAITED},  # so that all rooms wait for Gemini at the same time
    )
    with lab.start(worker, world) as function:
        for _ in range(3):
            _seconds_of(lab, function, world, BATCH)
        return function.peak()
