"""What an exchange costs: a prompt sent, its reply asked for a few times, and the answer made.

Units and milliseconds are measured, the latter at each memory size; prices are in prices.toml, and
what had to be assumed is there too.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.template import FUNCTIONS, RESOURCES, TEMPLATE

MEMORIES = (128, 256, 512, 1024, 1769)
SEND, POLL, WORKER, SWEEP = (
    "ChatroomSendMessage",
    "ChatroomListMessages",
    "GeminiWorker",
    "PromptsSweep",
)
FULL = "GeminiWorker, ten rooms"
"""The worker with a full batch."""
WORKER_LEAST = 256
"""MB: in less there is no room for twice what a full batch of long pasts takes."""
MILLION = 1_000_000

PRICES: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("prices.toml").read_text())
ASSUMED: Mapping[str, float] = PRICES["assumed"]


def share_of(memory: int) -> float:
    """Return the share of one CPU that a function of that many MB has."""
    return min(1.0, memory / float(PRICES["lambda"]["full_cpu_mb"]))


@dataclass(frozen=True)
class Measured:
    """What was measured of one function: milliseconds by memory size, calls, and units."""

    warm_ms: Mapping[int, float]
    cold_ms: Mapping[int, float]
    """Of a cold start: its initialisation and its first request."""
    services: Mapping[str, int]
    reads: float
    writes: float


@dataclass(frozen=True)
class Parts:
    """Dollars, by what they are paid for."""

    requests: float = 0.0
    compute: float = 0.0
    tables: float = 0.0
    redis: float = 0.0
    queue: float = 0.0
    logs: float = 0.0

    def __add__(self, other: "Parts") -> "Parts":
        """Return both together."""
        return Parts(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def __mul__(self, times: float) -> "Parts":
        """Return so many of it."""
        return Parts(*(value * times for value in self.values()))

    def values(self) -> tuple[float, ...]:
        """Return the parts."""
        return (self.requests, self.compute, self.tables, self.redis, self.queue, self.logs)

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.values())


def memory_of(function: str) -> int:
    """Return the MB that the template gives a function."""
    properties = FUNCTIONS[function]
    return int(properties.get("MemorySize", TEMPLATE["Globals"]["Function"]["MemorySize"]))


def milliseconds(it: Measured, memory: int) -> float:
    """Return what an invocation takes on average, some of them cold."""
    cold = ASSUMED["cold_share"]
    return (1 - cold) * it.warm_ms[memory] + cold * it.cold_ms[memory]


def compute(it: Measured, memory: int) -> float:
    """Return the dollars that an invocation's time costs: each begun millisecond counts."""
    cold = ASSUMED["cold_share"]
    billed = (1 - cold) * math.ceil(it.warm_ms[memory]) + cold * math.ceil(it.cold_ms[memory])
    return float(billed / 1e3 * memory / 1024 * PRICES["lambda"]["gb_second"])


def hour_spared(it: Measured, memory: int, more: int, people: int = 1) -> float | None:
    """Return the dollars that a larger size costs for each hour of people's waiting it spares.

    None where it spares less than half a per cent of it: that is noise.
    """
    spared = milliseconds(it, memory) - milliseconds(it, more)
    if spared < 0.005 * milliseconds(it, memory):
        return None
    return (compute(it, more) - compute(it, memory)) / (people * spared / 3.6e6)


def invocation(it: Measured, memory: int, *, http: bool) -> Parts:
    """Return the cost of one invocation."""
    return Parts(
        requests=PRICES["lambda"]["request"] + (PRICES["http_api"]["request"] if http else 0.0),
        compute=compute(it, memory),
        tables=it.reads * PRICES["dynamodb"]["read_unit"]
        + it.writes * PRICES["dynamodb"]["write_unit"],
        redis=it.services.get("redis", 0) * PRICES["upstash"]["command"],
        queue=it.services.get("sqs", 0) * PRICES["sqs"]["request"],
        logs=ASSUMED["log_bytes"] / 1e9 * PRICES["logs"]["gb"],
    )


def exchange(
    measured: Mapping[str, Measured], memory: int | None = None, *, together: bool = False
) -> Parts:
    """Return the cost of one exchange, all functions having so many MB (None: the template's).

    The worker has its least size at least. Its answer is made alone, or `together` with nine others
    in a full batch.
    """
    send = invocation(measured[SEND], memory or memory_of(SEND), http=True)
    polls = invocation(measured[POLL], memory or memory_of(POLL), http=True) * ASSUMED["polls"]
    batch = measured[FULL if together else WORKER]
    worker_memory = max(memory, WORKER_LEAST) if memory else memory_of(WORKER)
    answer = invocation(batch, worker_memory, http=False)
    moved = Parts(queue=2 * PRICES["sqs"]["request"])  # received and deleted, by the batch
    return send + polls + (answer + moved) * (0.1 if together else 1)


@dataclass(frozen=True)
class Idle:
    """Dollars a month without any traffic."""

    polling: float
    sweep: float
    watching: float
    """Alarms, and the metrics that are written even so."""
    reads: float
    """The sweep's reads alone: on-demand tables have no free tier."""


def idle(measured: Mapping[str, Measured]) -> Idle:
    """Return what a month without a single request costs, free tiers aside."""
    seconds = ASSUMED["hours_a_month"] * 3600
    polls = ASSUMED["pollers"] * seconds / ASSUMED["poll_seconds"]
    once = invocation(measured[SWEEP], memory_of(SWEEP), http=False)
    alarms = sum(one["Type"] == "AWS::CloudWatch::Alarm" for one in RESOURCES.values())
    return Idle(
        polling=polls * PRICES["sqs"]["request"],
        sweep=seconds / 60 * (once.total + PRICES["scheduler"]["invocation"]),
        watching=alarms * PRICES["alarms"]["month"] + PRICES["metrics"]["month"],
        reads=seconds / 60 * once.tables,
    )


def container() -> tuple[float, float]:
    """Return dollars a month of the original's smallest always-on form.

    That is its container alone, and with an address and the smallest MongoDB; its Redis is not
    counted.
    """
    fargate, hours = PRICES["fargate"], ASSUMED["hours_a_month"]
    hourly = fargate["cpus"] * fargate["cpu_hour"] + fargate["gbs"] * fargate["gb_hour"]
    alone = float(hourly * hours)
    return alone, alone + PRICES["address"]["hour"] * hours + PRICES["mongodb"]["month"]


# ── The plot ──────────────────────────────────────────────────────────────────────────────────────

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 380, 64, 168, 28, 52
X_FROM, X_TO, Y_FROM, Y_TO = 3, 7, -2, 3


def plot(unit: float, still: float, alone: float, whole: float) -> str:
    """Return an SVG: dollars a month over exchanges a month, both logarithmic."""

    def x(exchanges: float) -> float:
        return LEFT + (math.log10(exchanges) - X_FROM) / (X_TO - X_FROM) * (WIDTH - LEFT - RIGHT)

    def y(dollars: float) -> float:
        return (
            HEIGHT
            - BOTTOM
            - (math.log10(dollars) - Y_FROM) / (Y_TO - Y_FROM) * (HEIGHT - TOP - BOTTOM)
        )

    def text(x_at: float, y_at: float, words: str, more: str = "") -> str:
        return f'<text x="{x_at:.0f}" y="{y_at:.0f}" {more}>{words}</text>'

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="system-ui, sans-serif" font-size="12" fill="#57606a">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for power in range(X_FROM, X_TO + 1):
        at = x(10**power)
        parts.append(_line(at, TOP, at, HEIGHT - BOTTOM, "#e3e6ea"))
        words = {3: "1,000", 4: "10,000", 5: "100,000", 6: "1 million", 7: "10 million"}[power]
        parts.append(text(at, HEIGHT - BOTTOM + 18, words, 'text-anchor="middle"'))
    for power in range(Y_FROM, Y_TO + 1):
        at = y(10**power)
        parts.append(_line(LEFT, at, WIDTH - RIGHT, at, "#e3e6ea"))
        words = f"${10**power:,}" if power >= 0 else f"${10**power:.2f}"
        parts.append(text(LEFT - 8, at + 4, words, 'text-anchor="end"'))
    title = "exchanges a month: a prompt, its polls, its answer"
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(text(middle, HEIGHT - 12, title, 'text-anchor="middle"'))
    parts.append(text(LEFT, 16, "dollars a month, free tiers and Gemini itself aside"))

    steps = [10 ** (X_FROM + (X_TO - X_FROM) * i / 80) for i in range(81)]
    curve = [(x(n), y(still + unit * n)) for n in steps if still + unit * n <= 10**Y_TO]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in curve)
    parts.append(f'<polyline points="{points}" fill="none" stroke="#0b62d6" stroke-width="2.5"/>')
    beside = 'fill="#0b62d6" font-weight="600"'
    parts.append(text(curve[-1][0] + 8, curve[-1][1] + 12, "this, on Lambda", beside))
    for price, words in ((whole, "container, address,"), (alone, "its container alone")):
        parts.append(_line(LEFT, y(price), WIDTH - RIGHT, y(price), "#b35900", 'stroke-width="2"'))
        parts.append(text(WIDTH - RIGHT + 8, y(price) + 4, words, 'fill="#b35900"'))
        if price == whole:
            parts.append(
                text(
                    WIDTH - RIGHT + 8, y(price) - 10, f"always on, ${price:.0f}:", 'fill="#b35900"'
                )
            )
            parts.append(
                text(WIDTH - RIGHT + 8, y(price) + 18, "smallest MongoDB", 'fill="#b35900"')
            )
        crossing = (price - still) / unit
        parts.append(f'<circle cx="{x(crossing):.1f}" cy="{y(price):.1f}" r="4" fill="#0b62d6"/>')
        above = 'text-anchor="end" fill="#24292f"'
        parts.append(text(x(crossing) - 8, y(price) - 7, f"{_round(crossing):,}", above))
    return "\n".join([*parts, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'
    )


def _round(number: float) -> int:
    """Return the number to two digits: more would be pretence."""
    size = 10 ** (len(str(int(number))) - 2)
    return int(round(number / size) * size)


def crossing(price: float, unit: float, still: float) -> int:
    """Return the exchanges a month from which on a fixed price is the lower one."""
    return _round((price - still) / unit)


def unchecked() -> Sequence[str]:
    """Return the prices for which no page was at hand."""
    return [name for name, one in PRICES.items() if one.get("checked") is False]
