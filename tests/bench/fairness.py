"""Simulate how long honest users wait while greedy users send slow prompts.

The simulation has SQS FIFO queues, Lambda's workers and the limits on prompts in flight, with the
template's numbers. Events are simulated one by one without a clock: a run takes a second and always
has the same result.

    python -m tests.bench.fairness     prints a table for each number of workers
"""

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

from infra.template import load

TEMPLATE = load()
QUEUES = {"unproven": "basic", "basic": "basic", "pro": "pro"}
"""The queue of each kind of user, as deployed."""
ONE_QUEUE = dict.fromkeys(QUEUES, "all")

HONEST = 50
"""Honest users, half of them on pro; each reads a reply before sending the next prompt."""
HONEST_SECONDS = (2.0, 8.0)
READING = (30.0, 90.0)
BEGIN = 60.0
"""Seconds after which the greedy users begin."""
HORIZON = 1_800.0
MARGIN = 10.0
"""Seconds that the worker keeps in reserve (functions/gemini_worker)."""


def default(parameter: str) -> int:
    """Return the default value of a template parameter."""
    return int(TEMPLATE["Parameters"][parameter]["Default"])


WORKER = TEMPLATE["Resources"]["GeminiWorker"]["Properties"]
BATCH = int(TEMPLATE["Resources"]["GeminiWorkerPrompts"]["Properties"]["BatchSize"])
SLOW = float(default("GeminiTimeout"))
"""Seconds that the slowest prompt takes, which is our deadline for a reply."""


@dataclass(frozen=True)
class Limits:
    """The limits on prompts of greedy users: in flight and per day."""

    in_flight: Mapping[str, int] = field(
        default_factory=lambda: {
            "unproven": default("BasicInFlight"),
            "basic": default("BasicInFlight"),
            "pro": default("ProInFlight"),
        }
    )
    daily: Mapping[str, int] = field(
        default_factory=lambda: {"unproven": 5, "basic": 5, "pro": default("ProAttempts")}
    )
    all_unproven_in_flight: int = default("UnprovenInFlight")
    all_unproven_daily: int = default("UnprovenDailyPrompts")


@dataclass(frozen=True)
class Waits:
    """Seconds that honest users of a plan waited for a worker: 95th percentile and maximum."""

    usual: float
    most: float


@dataclass
class Prompt:
    """A prompt in a queue."""

    kind: str
    room: tuple[str, int]
    seconds: float
    sent: float
    done: Callable[[], None]


class Simulation:
    """Queues and workers; a worker receives at most `batch` messages at once."""

    def __init__(
        self,
        workers: int,
        *,
        queues: Mapping[str, str] = QUEUES,
        batch: int = BATCH,
        limits: Limits | None = None,
        seed: int = 1,
    ) -> None:
        """Begin with empty queues."""
        self.now = 0.0
        self.waits: dict[str, list[float]] = {"honest basic": [], "honest pro": []}
        self._workers, self._queues, self._batch = workers, queues, batch
        self._limits = limits or Limits()
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._waiting: dict[str, deque[Prompt]] = {name: deque() for name in queues.values()}
        self._locked: set[tuple[str, int]] = set()
        self._busy: Counter[str] = Counter()

    def run(self, greedy: int, kind: str) -> dict[str, Waits]:
        """Simulate greedy users of one kind; return the honest users' waits for each plan."""
        for number in range(HONEST):
            plan = "pro" if number % 2 else "basic"
            self._at(self._random.uniform(0, BEGIN), self._honest(f"honest {plan}", number))
        all_unproven = {"in flight": 0, "today": 0}
        for number in range(greedy):
            sent = [0]
            for place in range(self._limits.in_flight[kind]):
                room = (f"greedy {kind}", 1000 * number + place)
                begin = BEGIN + self._random.uniform(0, 5)
                self._at(begin, self._greedy(kind, room, sent, all_unproven))
        while self._events and self._events[0][0] <= HORIZON:
            self.now, _, action = heapq.heappop(self._events)
            action()
        for queue in self._waiting.values():
            for prompt in queue:
                self._note(prompt, HORIZON)
        return {name: _summary(found) for name, found in self.waits.items()}

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._number), action))

    def _honest(self, name: str, number: int) -> Callable[[], None]:
        def send() -> None:
            seconds = self._random.uniform(*HONEST_SECONDS)
            read = lambda: self._at(self.now + self._random.uniform(*READING), send)  # noqa: E731
            self._send(Prompt(name, (name, number), seconds, self.now, read))

        return send

    def _greedy(
        self, kind: str, room: tuple[str, int], sent: list[int], all_unproven: dict[str, int]
    ) -> Callable[[], None]:
        """Return the action that sends a slow prompt whenever the limits allow it."""
        limits = self._limits

        def end() -> None:
            all_unproven["in flight"] -= 1
            send()

        def send() -> None:
            if sent[0] >= limits.daily[kind]:
                return
            if kind == "unproven":
                if all_unproven["today"] >= limits.all_unproven_daily:
                    return
                if all_unproven["in flight"] >= limits.all_unproven_in_flight:
                    self._at(self.now + 5, send)
                    return
            all_unproven["today"] += 1
            all_unproven["in flight"] += 1
            sent[0] += 1
            self._send(Prompt(kind, room, SLOW, self.now, end))

        return send

    def _send(self, prompt: Prompt) -> None:
        queue = self._queues[prompt.kind.removeprefix("honest ")]
        self._waiting[queue].append(prompt)
        self._start_workers(queue)

    def _start_workers(self, queue: str) -> None:
        while self._busy[queue] < self._workers and (batch := self._receive(queue)):
            self._busy[queue] += 1
            self._work(queue, batch)

    def _receive(self, queue: str) -> dict[tuple[str, int], list[Prompt]]:
        """Remove the oldest prompts of unlocked rooms from a queue, and lock these rooms."""
        batch: dict[tuple[str, int], list[Prompt]] = {}
        left, kept = self._batch, deque[Prompt]()
        waiting = self._waiting[queue]
        while waiting and left:
            prompt = waiting.popleft()
            if prompt.room in self._locked:
                kept.append(prompt)
            else:
                batch.setdefault(prompt.room, []).append(prompt)
                left -= 1
        waiting.extendleft(reversed(kept))
        self._locked |= set(batch)
        return batch

    def _work(self, queue: str, batch: dict[tuple[str, int], list[Prompt]]) -> None:
        """Answer a batch, its rooms in parallel; the worker is busy until the slowest room is done.

        Each room is unlocked when its own prompts are answered.
        """
        ends = []
        for room, prompts in batch.items():
            end = self.now
            for place, prompt in enumerate(prompts):
                left = float(WORKER["Timeout"]) - MARGIN - (end - self.now)
                if place and left < SLOW:
                    self._waiting[queue].extendleft(reversed(prompts[place:]))
                    break
                self._note(prompt, end)
                end += prompt.seconds
                self._at(end, prompt.done)
            ends.append(end)
            self._at(end, self._unlock(queue, room))

        def finish() -> None:
            self._busy[queue] -= 1
            self._start_workers(queue)

        self._at(max(ends), finish)

    def _unlock(self, queue: str, room: tuple[str, int]) -> Callable[[], None]:
        def unlock() -> None:
            self._locked.discard(room)
            self._start_workers(queue)

        return unlock

    def _note(self, prompt: Prompt, begun: float) -> None:
        if prompt.kind in self.waits:
            self.waits[prompt.kind].append(begun - prompt.sent)


def _summary(waits: list[float]) -> Waits:
    ordered = sorted(waits)
    return Waits(ordered[int(len(ordered) * 0.95)], ordered[-1])


VARIANTS: Mapping[str, Mapping[str, object]] = {
    "one queue, 20 in flight on pro": {
        "queues": ONE_QUEUE,
        "limits": Limits({"unproven": 3, "basic": 3, "pro": 20}, all_unproven_in_flight=10**6),
    },
    "one queue": {"queues": ONE_QUEUE},
    "one queue, batches of 1": {"queues": ONE_QUEUE, "batch": 1},
    "as deployed": {},
}


def main() -> None:
    """Print the honest users' waits for each variant and load."""
    for workers in (2, 10):
        print(f"\n{workers} workers per queue: 95th percentile / most, seconds")
        print("| variant | greedy | basic | pro |\n|---|---|---|---|")
        for name, options in VARIANTS.items():
            loads = [(0, "basic")]
            loads += [(users, kind) for kind in QUEUES for users in (1, 20, 500)]
            for greedy, kind in loads:
                waits = Simulation(workers, **options).run(greedy, kind)  # type: ignore[arg-type]
                shown = " | ".join(f"{one.usual:.0f} / {one.most:.0f}" for one in waits.values())
                print(f"| {name} | {greedy} {kind} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
