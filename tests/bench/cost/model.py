"""The cost model: dollars per exchange (a prompt, its polls, its reply) and per month.

The units of DynamoDB and the milliseconds at each memory size are measured. Prices and assumptions
are in prices.toml; queues, schedules, alarms and dashboards are counted in the templates.
"""

import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.alarms import NESTED, alarms
from tests.support.template import FUNCTIONS, TEMPLATE, events_of, of_type

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
"""MB: twice the memory that a full batch with long histories takes."""
MILLION = 1_000_000

PRICES: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("prices.toml").read_text())
ASSUMED: Mapping[str, float] = PRICES["assumed"]
SECONDS = ASSUMED["hours_a_month"] * 3600


def share_of(memory: int) -> float:
    """Return the share of one CPU that a function has at this memory size in MB."""
    return min(1.0, memory / float(PRICES["lambda"]["full_cpu_mb"]))


@dataclass(frozen=True)
class Measured:
    """The measurements of one function: milliseconds by memory size, calls, and units."""

    warm_ms: Mapping[int, float]
    cold_ms: Mapping[int, float]
    """Milliseconds of a cold start: the initialisation and the first request together."""
    services: Mapping[str, int]
    reads: float
    writes: float


@dataclass(frozen=True)
class Parts:
    """A cost: the dollars for each service."""

    requests: float = 0.0
    compute: float = 0.0
    tables: float = 0.0
    redis: float = 0.0
    queue: float = 0.0
    logs: float = 0.0

    def __add__(self, other: "Parts") -> "Parts":
        """Return the sum of two costs."""
        return Parts(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def __mul__(self, times: float) -> "Parts":
        """Return the cost multiplied by a number."""
        return Parts(*(value * times for value in self.values()))

    def values(self) -> tuple[float, ...]:
        """Return the dollars of each service, in the order of the fields."""
        return (self.requests, self.compute, self.tables, self.redis, self.queue, self.logs)

    @property
    def total(self) -> float:
        """The sum of all parts."""
        return sum(self.values())


def memory_of(function: str) -> int:
    """Return the function's memory size in the template, in MB."""
    properties = FUNCTIONS[function]
    return int(properties.get("MemorySize", TEMPLATE["Globals"]["Function"]["MemorySize"]))


def milliseconds(it: Measured, memory: int) -> float:
    """Return the mean duration of an invocation, cold starts included."""
    cold = ASSUMED["cold_share"]
    return (1 - cold) * it.warm_ms[memory] + cold * it.cold_ms[memory]


def compute(it: Measured, memory: int) -> float:
    """Return the dollars for the duration of one invocation, cold starts included.

    A duration is rounded up to a whole millisecond.
    """
    cold = ASSUMED["cold_share"]
    billed = (1 - cold) * math.ceil(it.warm_ms[memory]) + cold * math.ceil(it.cold_ms[memory])
    return float(billed / 1e3 * memory / 1024 * PRICES["lambda"]["gb_second"])


def price_of_saved_hour(it: Measured, memory: int, more: int, people: int = 1) -> float | None:
    """Return the extra dollars that a larger memory size costs per saved hour of waiting.

    None if the larger size saves less than 0.5 % of the duration: that is noise.
    """
    spared = milliseconds(it, memory) - milliseconds(it, more)
    if spared < 0.005 * milliseconds(it, memory):
        return None
    return (compute(it, more) - compute(it, memory)) / (people * spared / 3.6e6)


def invocation(it: Measured, memory: int, *, http: bool) -> Parts:
    """Return the cost of one invocation, including API Gateway's request if `http` is true."""
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
    """Return the cost of one exchange if every function has this memory size in MB.

    None stands for the sizes in the template. The worker has at least WORKER_LEAST MB. A batch
    has one prompt, or ten if `together`.
    """
    send = invocation(measured[SEND], memory or memory_of(SEND), http=True)
    polls = invocation(measured[POLL], memory or memory_of(POLL), http=True) * ASSUMED["polls"]
    batch = measured[FULL if together else WORKER]
    worker_memory = max(memory, WORKER_LEAST) if memory else memory_of(WORKER)
    answer = invocation(batch, worker_memory, http=False)
    moved = Parts(queue=2 * PRICES["sqs"]["request"])  # one receive and one delete per batch
    return send + polls + (answer + moved) * (0.1 if together else 1)


def watched_exchange(
    measured: Mapping[str, Measured], seconds: float, posts: int, reads: float, writes: float
) -> float:
    """Return the dollars of one exchange if a user watches the reply for some seconds.

    A watched reply adds these `posts`, `reads` and `writes`. A connection takes one
    invocation for its ticket, three for API Gateway's events and one every five minutes to
    prolong it; each of these invocations is assumed to cost as much as a poll.
    """
    poll = invocation(measured[POLL], memory_of(POLL), http=True).total
    prices, minutes = PRICES["websocket"], ASSUMED["connection_minutes"]
    prolonged = minutes / 5
    connection = (4 + prolonged) * poll + prolonged * prices["message"] + minutes * prices["minute"]
    longer = (seconds - ASSUMED["model_seconds"]) * memory_of(WORKER) / 1024
    return float(
        exchange(measured).total
        + (ASSUMED["fetches"] - ASSUMED["polls"]) * poll
        + posts * prices["message"]
        + reads * PRICES["dynamodb"]["read_unit"]
        + writes * PRICES["dynamodb"]["write_unit"]
        + longer * PRICES["lambda"]["gb_second"]
        + connection / ASSUMED["watched_replies"]
    )


@dataclass(frozen=True)
class Idle:
    """Dollars per month without any traffic."""

    polling: float
    """Lambda's long polls of the queues."""
    schedules: float
    """The sweep every minute, and the other functions with a schedule."""
    alarms: float
    dashboard: float
    traces: float
    """X-Ray's traces of the scheduled runs."""
    metrics: float
    """The custom metrics that the scheduled runs write."""
    reads: float
    """The tables' part of `schedules`: on-demand tables have no free tier."""

    @property
    def total(self) -> float:
        """The sum of all parts, without free tiers."""
        watching = self.alarms + self.dashboard + self.traces + self.metrics
        return self.polling + self.schedules + watching

    @property
    def after_free_tiers(self) -> float:
        """The dollars to pay after AWS's free tiers, in an account with nothing else in it."""
        free = PRICES["alarms"]["free"] * PRICES["alarms"]["month"]
        return self.reads + max(0.0, self.alarms - float(free))


def scheduled_invocations() -> float:
    """Return the number of scheduled invocations per month, of all functions together."""
    runs = 0.0
    for function in FUNCTIONS:
        for event in events_of(function, "ScheduleV2"):
            rate = re.fullmatch(r"rate\((\d+) minutes?\)", event["ScheduleExpression"])
            minutes = int(rate[1]) if rate else 24 * 60  # the others run daily
            runs += SECONDS / 60 / minutes
    return runs


def idle(measured: Mapping[str, Measured]) -> Idle:
    """Return the cost of a month without requests; each scheduled run counts as a sweep."""
    runs = scheduled_invocations()
    queues = len(of_type("AWS::Lambda::EventSourceMapping"))
    polls = queues * ASSUMED["pollers"] * SECONDS / ASSUMED["poll_seconds"]
    once = invocation(measured[SWEEP], memory_of(SWEEP), http=False)
    dashboards = sum(
        one["Type"] == "AWS::CloudWatch::Dashboard" for one in NESTED["Resources"].values()
    )
    return Idle(
        polling=polls * PRICES["sqs"]["request"],
        schedules=runs * (once.total + PRICES["scheduler"]["invocation"]),
        alarms=sum(len(alarm.metrics) for alarm in alarms()) * PRICES["alarms"]["month"],
        dashboard=dashboards * PRICES["dashboards"]["month"],
        traces=price_of_traces(runs),
        metrics=ASSUMED["idle_metrics"] * PRICES["metrics"]["month"],
        reads=runs * once.tables,
    )


def price_of_traces(invocations: float) -> float:
    """Return the dollars per month for X-Ray's traces.

    X-Ray records the first invocation of each second, and a share of the others.
    """
    first = min(invocations, SECONDS)
    recorded = first + PRICES["xray"]["share"] * (invocations - first)
    return float(recorded * PRICES["xray"]["trace"])


def price_of_metrics(exchanges: float) -> float:
    """Return the dollars per month for custom metrics; only hours with an exchange are billed."""
    hours = ASSUMED["hours_a_month"]
    share = 1 - math.exp(-exchanges / hours)
    return float(ASSUMED["metrics"] * PRICES["metrics"]["month"] * share)


def monthly(unit: float, still: Idle, exchanges: float) -> float:
    """Return the dollars of a month with this many exchanges at `unit` dollars each."""
    invocations = scheduled_invocations() + exchanges * (2 + ASSUMED["polls"])
    watching = price_of_traces(invocations) - still.traces + price_of_metrics(exchanges)
    return still.total + unit * exchanges + watching


def container() -> tuple[float, float]:
    """Return two monthly prices of the original Express backend, in dollars.

    The first price is for the smallest container, always on. The second price adds an IP address
    and the smallest MongoDB. Redis and monitoring are not counted.
    """
    fargate, hours = PRICES["fargate"], ASSUMED["hours_a_month"]
    hourly = fargate["cpus"] * fargate["cpu_hour"] + fargate["gbs"] * fargate["gb_hour"]
    only = float(hourly * hours)
    return only, only + PRICES["address"]["hour"] * hours + PRICES["mongodb"]["month"]


# ── The plot ──────────────────────────────────────────────────────────────────────────────────────

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 380, 64, 168, 28, 52
X_FROM, X_TO, Y_FROM, Y_TO = 3, 7, -2, 3


def plot(dollars_of: Callable[[float], float], only: float, whole: float) -> str:
    """Return an SVG: dollars per month over exchanges per month, both logarithmic.

    `dollars_of` returns the stack's dollars for a number of exchanges. `only` and `whole` are
    the two prices of `container`.
    """

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
    title = "exchanges per month: a prompt, its polls, its reply"
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(text(middle, HEIGHT - 12, title, 'text-anchor="middle"'))
    parts.append(text(LEFT, 16, "dollars per month, without free tiers and without Gemini"))

    steps = [10 ** (X_FROM + (X_TO - X_FROM) * i / 80) for i in range(81)]
    curve = [(x(n), y(dollars_of(n))) for n in steps if dollars_of(n) <= 10**Y_TO]
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in curve)
    parts.append(f'<polyline points="{points}" fill="none" stroke="#0b62d6" stroke-width="2.5"/>')
    label = 'fill="#0b62d6" font-weight="600"'
    parts.append(text(curve[-1][0] + 8, curve[-1][1] + 12, "this backend, on Lambda", label))
    for price, words in ((whole, "container, address,"), (only, "only its container")):
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
        met = find_crossing(price, dollars_of)
        if met < 10**X_FROM:  # left of the plot
            continue
        parts.append(f'<circle cx="{x(met):.1f}" cy="{y(price):.1f}" r="4" fill="#0b62d6"/>')
        above = 'text-anchor="end" fill="#24292f"'
        parts.append(text(x(met) - 8, y(price) - 7, f"{met:,}", above))
    return "\n".join([*parts, "</svg>", ""])


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'
    )


def find_crossing(price: float, dollars_of: Callable[[float], float]) -> int:
    """Return the number of exchanges per month at which a fixed price becomes cheaper.

    The number has two significant digits.
    """
    low, high = 0.0, 10.0**X_TO
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (middle, high) if dollars_of(middle) < price else (low, middle)
    size = 10 ** max(0, len(str(int(high))) - 2)
    return int(round(high / size) * size)


def list_unchecked() -> Sequence[str]:
    """Return the names of the prices that no public page confirms."""
    return [name for name, one in PRICES.items() if one.get("checked") is False]
