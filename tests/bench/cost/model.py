"""What an exchange costs: a prompt sent, its reply asked for a few times, and the answer made.

Units and milliseconds are measured, prices are in prices.toml, and what had to be assumed is
there too. A function's CPU time grows as its memory, and so its share of a CPU, shrinks; waiting
does not.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.template import FUNCTIONS, RESOURCES, TEMPLATE

MEMORIES = (128, 256, 512, 1024, 1769)
SEND, POLL, WORKER, SWEEP = (
    "ChatroomSendMessage",
    "ChatroomListMessages",
    "GeminiWorker",
    "PromptsSweep",
)
MILLION = 1_000_000

PRICES: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("prices.toml").read_text())
ASSUMED: Mapping[str, float] = PRICES["assumed"]


@dataclass(frozen=True)
class Measured:
    """What was measured of one function: a warm request's and a cold start's CPU in ms, units."""

    warm_ms: float
    cold_ms: float
    services: Mapping[str, int]
    waits: int
    """Calls that wait for one another, Gemini's not among them."""
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


def invocation(it: Measured, memory: int, *, http: bool, waiting: float = 0.0) -> Parts:
    """Return the cost of one invocation that also waits so many seconds for Gemini."""
    share = min(1.0, memory / PRICES["lambda"]["full_cpu_mb"])
    pause = waiting * 1e3 + it.waits * ASSUMED["dynamodb_ms"]
    extra = it.services.get("sqs", 0) * (ASSUMED["sqs_ms"] - ASSUMED["dynamodb_ms"])
    extra += it.services.get("redis", 0) * (ASSUMED["redis_ms"] - ASSUMED["dynamodb_ms"])
    milliseconds = math.ceil(pause + extra + it.warm_ms / share)
    milliseconds += ASSUMED["cold_share"] * it.cold_ms  # Lambda initialises at full speed
    return Parts(
        requests=PRICES["lambda"]["request"] + (PRICES["http_api"]["request"] if http else 0.0),
        compute=milliseconds / 1e3 * memory / 1024 * PRICES["lambda"]["gb_second"],
        tables=it.reads * PRICES["dynamodb"]["read_unit"]
        + it.writes * PRICES["dynamodb"]["write_unit"],
        redis=it.services.get("redis", 0) * PRICES["upstash"]["command"],
        queue=it.services.get("sqs", 0) * PRICES["sqs"]["request"],
        logs=ASSUMED["log_bytes"] / 1e9 * PRICES["logs"]["gb"],
    )


def exchange(measured: Mapping[str, Measured], memory: int, *, together: int = 1) -> Parts:
    """Return the cost of one exchange, its answer made in a batch of `together` rooms."""
    send = invocation(measured[SEND], memory, http=True)
    polls = invocation(measured[POLL], memory, http=True) * ASSUMED["polls"]
    one = measured[WORKER]
    batch = Measured(
        one.warm_ms * together,
        one.cold_ms,
        one.services,
        one.waits,
        one.reads * together,
        one.writes * together,
    )
    worker_memory = max(memory, 256)  # google-generativeai does not fit into less
    answer = invocation(batch, worker_memory, http=False, waiting=ASSUMED["model_seconds"])
    moved = Parts(queue=2 * PRICES["sqs"]["request"])  # received and deleted, by the batch
    return send + polls + (answer + moved) * (1 / together)


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
    memory = int(FUNCTIONS[SWEEP].get("MemorySize", TEMPLATE["Globals"]["Function"]["MemorySize"]))
    once = invocation(measured[SWEEP], memory, http=False)
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
