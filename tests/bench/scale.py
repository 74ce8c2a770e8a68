"""The model behind SCALE.md: the limits at several numbers of users, and how long prompts wait.

`python -m tests.bench.scale` rewrites the tables of SCALE.md; a test checks that they are current.
"""

import functools
import heapq
import math
import random
import re
import statistics
from dataclasses import dataclass

from geminichat.domain import spending
from geminichat.domain.catalogue import SHIPPED
from geminichat.domain.models import Catalogue
from geminichat.domain.money import MILLION
from geminichat.tables.messages.stored import SHARDS as INDEX_SHARDS
from infra.paths import ROOT
from tests.bench.cost import model
from tests.bench.report import table
from tests.support.template import RESOURCES, TEMPLATE

PAGE = ROOT / "SCALE.md"
LEVELS = (1_000, 100_000, 10_000_000)
"""Users per day."""

# ── Assumptions about users ───────────────────────────────────────────────────────────────────────

PROMPTS = 10
"""Prompts per user and day."""
REQUESTS = 2 + model.ASSUMED["polls"]
"""Requests per prompt: one sends it, some poll it, and one reads a room or a list."""
BUSIEST_HOUR = 0.1
"""The share of a day's prompts that is sent in the busiest hour."""
BURST = 2.0
"""The rate in the busiest seconds, as a multiple of their hour's mean rate."""
VISITS = 2
"""Connections that a user opens per day."""
TEXTS = 1 / 30
"""Text messages per user and day: one in thirty days, the lifetime of a refresh token."""
TOKENS = (1_500, 400)
"""The tokens of a prompt with its history, and of its reply."""
ANSWER = 5.0
"""The mean seconds of a reply; their logarithms are normally distributed."""
SPREAD = 0.6
REQUEST_SECONDS = 0.05
"""The seconds that a function takes to answer a request."""

# ── Write units per prompt (test_budget.py compares them with the requests) ───────────────────────

WRITES = {"MessagesTable": 7, "UsageTable": 8}
"""Units until a prompt is answered: two per write in a transaction, one per other write. A pro
user's burst limit takes two more in the usage table."""
INDEX_WRITES = 2
"""One unit when a prompt enters the index of unfinished prompts, and one when the prompt leaves."""
STAGE_WRITES = 4
"""Two units when a prompt's price is reserved in a stage item, and two when it is settled."""
PARTITION, NEW_TABLE, TABLE_QUOTA = 1_000, 4_000, 40_000
"""Write units per second."""

BATCH, MOST_WORKERS = 10, 1_000
"""Messages per batch of a FIFO queue, and workers per event source, at most."""


@dataclass(frozen=True)
class Limit:
    """A limit, the demand at the busiest time, and the source of the limit's number."""

    name: str
    demand: float
    capacity: float
    unit: str
    source: str

    @property
    def share(self) -> float:
        """The demand as a share of the limit."""
        return self.demand / self.capacity


def peak(users: float) -> float:
    """Return the prompts per second at the busiest time of a day."""
    return users * PROMPTS * BUSIEST_HOUR / 3600 * BURST


def default_of(parameter: str) -> float:
    """Return the default of a parameter of the template."""
    return float(TEMPLATE["Parameters"][parameter]["Default"])


def prompt_dollars() -> float:
    """Return the dollars for an average prompt to the default model."""
    default = Catalogue.read(SHIPPED).default()
    return default.cost(*TOKENS) / MILLION


def monthly_dollars(users: float) -> float:
    """Return the dollars that Gemini costs per month with this many users per day."""
    return users * PROMPTS * prompt_dollars() * 30


# ── The simulation of the workers ─────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Waits:
    """Seconds that the prompts of one queue wait for a worker, and the mean size of a batch."""

    median: float
    slow: float
    """The wait in seconds that one prompt in twenty exceeds."""
    batch: float


def _answer(dice: random.Random) -> float:
    return dice.lognormvariate(math.log(ANSWER) - SPREAD**2 / 2, SPREAD)


def simulate(rate: float, workers: int, seconds: float = 120) -> Waits:
    """Return the waits in a queue where this many prompts per second arrive, at random moments.

    A free worker takes the waiting prompts, ten at most, answers them in parallel, and is free
    again after the longest answer. Each prompt is from another room. The first half of the prompts
    is not counted. A large queue is simulated with a fraction of its prompts and workers, so that
    the waits are a little longer.
    """
    parts = max(1, int(rate // 50))
    rate, workers = rate / parts, workers // parts
    dice = random.Random(1)
    arrivals: list[float] = []
    at = 0.0
    while (at := at + dice.expovariate(rate)) < seconds:
        arrivals.append(at)
    free = [0.0] * workers
    waits: list[float] = []
    batches = taken = 0
    while taken < len(arrivals):
        begins = max(heapq.heappop(free), arrivals[taken])
        first = taken
        while taken < len(arrivals) and taken - first < BATCH and arrivals[taken] <= begins:
            waits.append(begins - arrivals[taken])
            taken += 1
        lasts = max(_answer(dice) for _ in range(taken - first))
        heapq.heappush(free, begins + lasts)
        batches += 1
    later = sorted(waits[len(waits) // 2 :])
    return Waits(statistics.median(later), later[int(0.95 * len(later))], taken / batches)


@functools.cache
def full_worker_rate() -> float:
    """Return the prompts per second that a worker answers in full batches."""
    dice = random.Random(1)
    longest = [max(_answer(dice) for _ in range(BATCH)) for _ in range(20_000)]
    return BATCH / statistics.mean(longest)


def count_workers(rate: float) -> int:
    """Return the smallest round number of workers with which 19 of 20 prompts wait under 1 s."""
    choices = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
    return next(
        one for one in choices if one * full_worker_rate() > rate and simulate(rate, one).slow < 1
    )


# ── The limits ────────────────────────────────────────────────────────────────────────────────────

DOCS = "https://docs.aws.amazon.com"
LAMBDA = f"{DOCS}/lambda/latest/dg"
GATEWAY = f"{DOCS}/apigateway/latest/developerguide"
DYNAMODB = f"{DOCS}/amazondynamodb/latest/developerguide"
SQS = f"{DOCS}/AWSSimpleQueueService/latest/SQSDeveloperGuide"
PARTITIONS = f"[partitions]({DYNAMODB}/bp-partition-key-design.html)"
GEMINI = "[2.5 Flash](https://discuss.ai.google.dev/t/reached-the-rate-limit-again/104465)"
"""Google publishes no limits of later models; AI Studio shows those of a project."""
BILLING = "[billing](https://ai.google.dev/gemini-api/docs/billing)"


def limits(users: int) -> list[Limit]:
    """Return the limits that no template parameter can raise, the most used one first."""
    rate = peak(users)
    stage_items = spending.StageCap(int(default_of("StageDailyDollars") * MILLION)).shards
    return _sort(
        Limit(
            "Gemini's requests",
            rate * 60,
            10_000,
            "per minute",
            f"tier 3 of {GEMINI}, as last published",
        ),
        Limit(
            "Gemini's spending cap",
            monthly_dollars(users),
            100_000,
            "dollars/month",
            f"tier 3 has $20,000 to $100,000 and more; {BILLING}",
        ),
        Limit(
            "workers of one queue",
            rate,
            MOST_WORKERS * full_worker_rate(),
            "prompts/s",
            f"{MOST_WORKERS:,} per mapping; [scaling]({LAMBDA}/services-sqs-scaling.html)",
        ),
        Limit(
            "API Gateway's requests",
            rate * REQUESTS,
            10_000,
            "per second",
            f"per account and region, 2,500 in some; [quotas]({GATEWAY}/limits.html)",
        ),
        Limit(
            "API Gateway's new connections",
            users * VISITS * BUSIEST_HOUR / 3600 * BURST,
            500,
            "per second",
            f"[quotas]({GATEWAY}/apigateway-execution-service-websocket-limits-table.html)",
        ),
        Limit(
            "Lambda's concurrency",
            rate * REQUESTS * REQUEST_SECONDS + rate / full_worker_rate(),
            1_000,
            "functions",
            f"all functions of a region; [quotas]({LAMBDA}/gettingstarted-limits.html)",
        ),
        Limit(
            "writes of the usage table",
            rate * WRITES["UsageTable"],
            TABLE_QUOTA,
            "units/s",
            f"a new table takes [{NEW_TABLE:,}]({DYNAMODB}/on-demand-capacity-mode.html); "
            f"[quotas]({DYNAMODB}/ServiceQuotas.html)",
        ),
        Limit(
            "the index `unfinished`",
            rate * INDEX_WRITES,
            INDEX_SHARDS * PARTITION,
            "units/s",
            f"{INDEX_SHARDS} shards; {PARTITIONS}",
        ),
        Limit(
            "the stage's spending",
            rate * STAGE_WRITES,
            stage_items * PARTITION,
            "units/s",
            f"{stage_items} items; {PARTITIONS}",
        ),
        Limit(
            "the queue's requests",
            rate,
            2_400,
            "sends/s",
            f"high throughput, smallest regions; [quotas]({SQS}/quotas-messages.html)",
        ),
        Limit(
            "prompts in flight",
            rate * ANSWER,
            120_000,
            "messages",
            f"[quotas]({SQS}/quotas-fifo.html)",
        ),
        Limit(
            "Redis",
            rate * 2,
            10_000,
            "commands/s",
            "per database; [plans](https://upstash.com/docs/redis/overall/billing)",
        ),
    )


def limits_as_deployed(users: int) -> list[Limit]:
    """Return all limits with the template's defaults and an ordinary account's quotas."""
    rate = peak(users)
    workers, texts = default_of("WorkerConcurrency"), default_of("TextsPerDay")
    throttle = RESOURCES["Api"]["Properties"]["DefaultRouteSettings"]["ThrottlingRateLimit"]
    raised = ("workers of one queue", "Gemini's requests", "Gemini's spending cap")
    return _sort(
        *(limit for limit in limits(users) if limit.name not in raised),
        Limit(
            "dollars at Gemini",
            users * PROMPTS * prompt_dollars(),
            default_of("StageDailyDollars"),
            "per day",
            "`StageDailyDollars`",
        ),
        Limit("texts", users * TEXTS, texts, "per day", "`TextsPerDay`"),
        Limit(
            "workers of one queue",
            rate,
            workers * full_worker_rate(),
            "prompts/s",
            f"`WorkerConcurrency`; [scaling]({LAMBDA}/services-sqs-scaling.html)",
        ),
        Limit(
            "Gemini's requests",
            rate * 60,
            1_000,
            "per minute",
            f"tier 1 of {GEMINI}, as last published",
        ),
        Limit(
            "Gemini's spending cap",
            monthly_dollars(users),
            250,
            "dollars/month",
            f"tier 1; {BILLING}",
        ),
        Limit("the API's throttle", rate * REQUESTS, throttle, "per second", "`template.yaml`"),
    )


def _first(found: list[Limit]) -> list[Limit]:
    """Return the exceeded limits, or the first five if fewer than five are exceeded."""
    return [one for place, one in enumerate(found) if place < 5 or one.share > 1]


def _sort(*found: Limit) -> list[Limit]:
    return sorted(found, key=lambda limit: -limit.share)


# ── The page ──────────────────────────────────────────────────────────────────────────────────────


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def limit_table(found: list[Limit]) -> str:
    """Return a Markdown table of these limits."""
    return table(
        ("limit", "given by", "demand", "limit is", "share"),
        [
            (
                one.name,
                one.source,
                f"{_number(one.demand)} {one.unit}",
                _number(one.capacity),
                f"{one.share:.0%}" if one.share >= 0.01 else f"{one.share:.1%}",
            )
            for one in found
        ],
        left=2,
    )


def worker_table() -> str:
    """Return the table of simulated waits in one queue for several numbers of daily users."""
    rows = []
    for users in LEVELS:
        rate = peak(users)
        for workers in sorted({int(default_of("WorkerConcurrency")), count_workers(rate)}):
            row = (f"{users:,}", _number(rate), f"{workers:,}")
            if rate > workers * full_worker_rate():
                rows.append((*row, "grows", "grows", f"{BATCH}.0"))
            else:
                waits = simulate(rate, workers)
                rows.append(
                    (*row, f"{waits.median:.1f} s", f"{waits.slow:.1f} s", f"{waits.batch:.1f}")
                )
    head = ("users per day", "prompts/s", "workers", "median wait", "one in twenty", "batch")
    return table(head, rows)


def cost_table() -> str:
    """Return the table of dollars per month: AWS with Redis, and Gemini."""
    benchmarks = (ROOT / "BENCHMARKS.md").read_text()
    idle = float(re.findall(r"a month costs \$([\d.]+)", benchmarks)[0])
    single, full = re.findall(
        r"\*\*as deployed\*\*.*\*\*([\d.]+)\*\* \| \*\*([\d.]+)\*\*", benchmarks
    )[0]
    rows = []
    for users in LEVELS:
        prompts = users * PROMPTS * 30
        unit = float(full if peak(users) > 10 else single) / MILLION
        rows.append(
            (
                f"{users:,}",
                f"{prompts:,}",
                f"${idle + unit * prompts:,.0f}",
                f"${monthly_dollars(users):,.0f}",
            )
        )
    return table(("users per day", "prompts per month", "AWS and Redis", "Gemini"), rows)


def tables() -> dict[str, str]:
    """Return the tables of SCALE.md, each by the name in the comment before it."""
    small, medium, large = LEVELS
    return {
        f"{small:,} users": limit_table(_first(limits_as_deployed(small))),
        f"{medium:,} users": limit_table(_first(limits_as_deployed(medium))),
        f"{large:,} users": limit_table(_first(limits(large))),
        "workers": worker_table(),
        "cost": cost_table(),
    }


def update(page: str, made: dict[str, str]) -> str:
    """Return the text of SCALE.md with its tables replaced by these tables."""
    for name, text in made.items():
        begins = f"<!-- {name} -->\n"
        before, found, after = page.partition(begins)
        assert found, name
        page = before + begins + text + "\n\n" + after.partition("\n\n")[2]
    return page


def main() -> None:
    """Rewrite the tables of SCALE.md."""
    PAGE.write_text(update(PAGE.read_text(), tables()))


if __name__ == "__main__":
    main()
