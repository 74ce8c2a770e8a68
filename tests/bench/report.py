"""BENCHMARKS.md: a table of goals, then the figures behind each goal."""

import functools
import math
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench import live, sizes, streaming, subjects
from tests.bench.capacity import BUDGET, Demand
from tests.bench.cold import Figure as Cold
from tests.bench.cold import over_tls
from tests.bench.cost import model
from tests.bench.lab import USUAL
from tests.bench.live import Figures as Live
from tests.bench.memory import Curve
from tests.bench.sizes import Size
from tests.bench.warm import Figure as Warm


@dataclass(frozen=True)
class Results:
    """The measurements of one run of the bench."""

    cold: Mapping[str, Cold]
    warm: Mapping[str, Warm]
    stream: Mapping[str, float]
    live: Live
    demands: Mapping[str, Demand]
    curve: Curve
    sizes: Mapping[str, Size]
    queue: Mapping[str, Any]
    console: Mapping[str, float]
    rounds: int
    minutes: float
    when: str
    requirements: Sequence[Path]


@dataclass(frozen=True)
class Goal:
    """A row of the table of goals."""

    what: str
    goal: str
    figure: str
    met: bool


def table(head: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are aligned left, the others right."""
    rule = ["---" if place < left else "---:" for place in range(len(head))]
    lines = [head, rule, *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def http_with_floor(results: Results) -> list[str]:
    """Return the HTTP functions that make network calls, and therefore have a practical floor."""
    return [name for name in subjects.http_functions() if f"floor {name}" in results.cold]


def _usual_cold(results: Results, name: str) -> float:
    """Return the CPU time of a function's cold start in the faster of the two usual ways."""
    kind = subjects.ask_of(name).usual
    return min(results.cold[f"{way} {kind}"].cpu for way in USUAL)


def _usual_warm(results: Results, name: str) -> float:
    kind = subjects.ask_of(name).usual
    return min(results.warm[f"{way} {kind}"].own for way in USUAL)


def _range(values: Sequence[float], digits: int = 2) -> str:
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return f"{ordered[0]:.{digits}f} to {ordered[-1]:.{digits}f}, median {middle:.{digits}f}"


def goals(results: Results) -> list[Goal]:
    """Return the goals with the measured figures."""
    cold = results.cold
    names = http_with_floor(results)
    over = [cold[name].cpu / cold[f"floor {name}"].cpu for name in names]
    lower = [cold[f"floor {name}"].cpu / cold[f"shipped floor {name}"].cpu for name in names]
    both = [cold[name].cpu / cold[f"shipped floor {name}"].cpu for name in names]
    tls = [
        cold[over_tls(name)].cpu / cold[name].cpu
        for name in results.demands
        if over_tls(name) in cold
    ]
    usual = [cold[name].cpu / _usual_cold(results, name) for name in names]
    worker = cold["GeminiWorker"].cpu / cold["gemini import, as shipped"].cpu
    plain = [name for name in subjects.http_functions() if not subjects.ask_of(name).hashes]
    own = [results.warm[name].own for name in plain]
    tenth = [
        results.warm[name].own / _usual_warm(results, name)
        for name in plain
        if subjects.ask_of(name).usual != "health"
    ]
    within = [results.demands[name].calls <= allowed for name, allowed in BUDGET.items()]
    batches, shown = results.queue["batches"], results.live
    peaks = [(name, results.cold[name].memory) for name in results.demands]
    peaks += [(name.partition(",")[0], peak) for name, peak in results.curve.peaks.items()]
    spare = [model.memory_of(name) / peak for name, peak in peaks]
    found = [
        Goal("Cold start of an HTTP function, over its practical floor", "≤ 1.10", _range(over),
             max(over) <= 1.1),
        Goal("The practical floor, over the same SDKs as shipped", "≤ 0.75", _range(lower),
             max(lower) <= 0.75),
        Goal("Cold start of an HTTP function, over the same SDKs as shipped", "≤ 0.83",
             _range(both), max(both) <= 1.1 * 0.75),
        Goal("Cold start with services over TLS, over the same without TLS", "≤ 1.15", _range(tls),
             max(tls) <= 1.15),
        Goal("Cold start, over the usual way (the faster of two)", "≤ 0.60", _range(usual),
             max(usual) <= 0.6),
        Goal("Cold start of the worker, over only `import google.generativeai`; 0.55 while the "
             "worker used that client", "≤ 0.33", f"{worker:.2f}", worker <= 0.33),
        Goal(f"CPU of a streamed reply of {streaming.CHUNKS} pieces, {streaming.GOOGLES}: "
             f"{results.stream[streaming.GOOGLES]:.0f} ms", "≤ 5 ms",
             f"{results.stream[streaming.OURS]:.1f} ms", results.stream[streaming.OURS] <= 5),
        Goal(f"Additional CPU of a watched reply of {live.CHUNKS} pieces in {live.SECONDS:.0f} s",
             "≤ 5 ms", f"{shown.watched - shown.unwatched:.1f} ms",
             shown.watched - shown.unwatched <= 5),
        Goal("First text of a watched reply after Gemini's first piece, median", "≤ 0.3 s",
             f"{shown.first_text:.3f} s", shown.first_text <= 0.3),
        Goal("A batch of ten watched rooms, over a batch of one", "≤ 1.1",
             f"{shown.ten / shown.one:.2f}", shown.ten <= 1.1 * shown.one),
        Goal("Warm request without a password hash, µs of CPU outside the SDKs' calls", "< 400",
             _range(own, 0), max(own) < 400),
        Goal("Warm request outside the SDKs' calls, over the usual way", "≤ 0.10", _range(tenth),
             max(tenth) <= 0.1),
        Goal("Network calls within the design's budget", f"{len(within)} of {len(within)}",
             f"{sum(within)} of {len(within)}", all(within)),
        Goal("A batch of ten rooms, over one room after another", "≈ 0.1",
             f"{batches['together'] / batches['in_turn']:.2f}",
             batches["together"] / batches["in_turn"] < 0.15),
        Goal("Memory of a function, over its peak", "≥ 2", f"{min(spare):.1f} at least",
             min(spare) >= 2),
    ]  # fmt: skip
    kilobytes, requests = results.console["KB on the wire"], results.console["requests"]
    found.append(
        Goal("The console's first load", "≤ 150 KB, 12 requests",
             f"{kilobytes:.0f} KB, {requests:.0f} requests", kilobytes <= 150 and requests <= 12)
    )  # fmt: skip
    for name, limit in sizes.GOALS.items():
        size = results.sizes[name].unzipped
        goal = Goal(
            f"Layer {name}, unzipped, with byte-code", f"< {limit:.0f} MB", f"{size:.1f} MB",
            size < limit,
        )  # fmt: skip
        found.append(goal)
    return found


def goal_table(results: Results) -> str:
    """Return the table that `make bench` prints."""
    rows = [
        (one.what, one.goal, one.figure, "yes" if one.met else "**no**") for one in goals(results)
    ]
    return table(["what", "goal", "figure", "met"], rows)


def read_results(results: Results) -> dict[str, model.Measured]:
    """Return the measurements that the cost model needs, by function."""
    found = {}
    for name, sizes_of_it in results.curve.figures.items():
        function, times = (model.WORKER, 10) if name == model.FULL else (name, 1)
        demanded = results.demands[function]
        # A full batch has the cold start of a single prompt, and then takes its additional time.
        apart = dict.fromkeys(sizes_of_it, 0.0)
        if name == model.FULL:
            one = results.curve.figures[function]
            apart = {memory: it.warm - one[memory].warm for memory, it in sizes_of_it.items()}
        found[name] = model.Measured(
            {memory: it.warm for memory, it in sizes_of_it.items()},
            {memory: it.init + it.first + apart[memory] for memory, it in sizes_of_it.items()},
            demanded.services,
            demanded.reads * times,
            demanded.writes * times,
        )
    return found


def document(results: Results, reasons: str) -> str:
    """Return the text of BENCHMARKS.md; `reasons` says why some goals are not met."""
    parts = [
        "# Benchmarks",
        (
            "Generated by `make bench`: the figures of the last run. Compare ratios within the run, "
            "not milliseconds: every round starts everything once, in the same order, and a ratio "
            f"compares the medians of {results.rounds} rounds. Ratios are of CPU time, which other "
            "processes on the machine disturb least; with services that answer at once, a cold start "
            "takes little other time."
        ),
        f"{results.when}, {results.minutes:.0f} minutes, on {machine()}.",
        versions(results.requirements),
        goal_table(results),
        reasons,
        "## Cold starts",
        (
            "From the start of a process under AWS's runtime client to its first answer, with "
            "byte-code and with services that answer at once. *Floor*: a handler that only makes the "
            "same network calls, with the same SDKs from our layers. *As shipped*: the floor with "
            "PyPI's packages. *Usual way*: the same kind of work (JWT, Upstash, DynamoDB, validated "
            "bodies) with Powertools' resolver, pydantic and boto3, and with FastAPI and Mangum; the "
            "faster one counts. *Over TLS*: CPU when the services answer over TLS, with a certificate "
            "that is in the layer's hashed folder. Milliseconds and MB."
        ),
        _cold_table(results),
        _references(results),
        "## Warm requests",
        (
            "Microseconds of CPU per request. *Own*: outside the SDKs' calls; a call is the work of "
            "botocore, upstash-redis or stripe to send one request and read its answer. *All*: with "
            "these calls."
        ),
        _warm_table(results),
        "## Live replies",
        _live(results),
        "## Calls and capacity",
        (
            "A request to a warm function, as recorded. *In a row*: the longest chain of calls that "
            "wait for one another. Read and write units are computed from the requests and answers, by "
            "DynamoDB's rules, indexes included. Budgets are those of ARCHITECTURE.md."
        ),
        _calls_table(results),
        "## The console",
        (
            "A load with an empty cache in headless Chromium, from a server on this machine: medians, "
            "without a network and without cold starts."
        ),
        table(["what", "figure"], [(name, f"{it:.0f}") for name, it in results.console.items()]),
        "## The queue",
        (
            "The worker's handler on the emulated AWS; Gemini's stand-in takes 1 s per reply. *Beyond "
            "the model*: the time from queueing the load to storing the reply, without that second. A "
            "room's prompts are answered one after another, since each is sent with the replies before "
            "it; rooms are answered in parallel, ten per batch. The emulated AWS answers one call at a "
            "time, which limits the last rows."
        ),
        _queue_table(results),
        _fairness(results),
        "## Memory",
        *_memory(results),
        "## Cost",
        *_cost(results),
        "## Sizes",
        (
            "MB. *Saved*: the difference to the same packages as shipped, which the build trims; byte-code in "
            "both. Functions have a few KB each, except those with documents."
        ),
        _size_table(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def machine() -> str:
    """Return the machine's processor, memory and software, without its name."""
    kind = "an unknown processor"
    cores = 0
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            kind = line.partition(":")[2].strip()
            cores += 1
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    return (
        f"{cores} cores of {kind}, {memory:.0f} GB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}"
    )


def versions(requirements: Sequence[Path]) -> str:
    """Return the versions of the packages that we and the references use."""
    shown = [
        *("awslambdaric", "aws-lambda-powertools", "boto3", "botocore", "fastapi", "httpx"),
        *("google-generativeai", "mangum", "msgspec", "pydantic", "pyjwt", "pynamodb"),
        *("stripe", "upstash-redis"),
    ]
    found: dict[str, str] = {}
    for path in requirements:
        for line in path.read_text().splitlines():
            name, _, version = line.partition("==")
            if version and name in shown:
                found[name] = version.split(" ")[0]
    return "Versions: " + ", ".join(f"{name} {found[name]}" for name in sorted(found)) + "."


def _cold_table(results: Results) -> str:
    rows = []
    for name in results.demands:
        cold = results.cold[name]
        tls = results.cold.get(over_tls(name))
        row: list[object] = [name, f"{cold.wall:.0f}", f"{cold.cpu:.0f}"]
        row += [f"{tls.cpu:.0f}" if tls else "", f"{cold.memory:.0f}"]
        floor = results.cold.get(f"floor {name}")
        shipped = results.cold.get(f"shipped floor {name}")
        if floor and shipped:
            row += [f"{floor.cpu:.0f}", f"{shipped.cpu:.0f}", f"{cold.cpu / floor.cpu:.2f}"]
        else:
            row += ["", "", ""]
        usual = name in subjects.http_functions()
        row.append(f"{cold.cpu / _usual_cold(results, name):.2f}" if usual else "")
        rows.append(row)
    head = ["function", "wall", "CPU", "over TLS", "peak", "floor", "as shipped", "× floor"]
    return table([*head, "× usual way"], rows)


def _references(results: Results) -> str:
    rows = [
        (name, f"{cold.wall:.0f}", f"{cold.cpu:.0f}", f"{cold.memory:.0f}")
        for name, cold in results.cold.items()
        if name not in results.demands and "floor" not in name and "over TLS" not in name
    ]
    return table(["reference", "wall", "CPU", "peak"], rows)


def _warm_table(results: Results) -> str:
    rows = []
    for name in results.demands:
        warm = results.warm[name]
        usual = name in subjects.http_functions()
        ratio = f"{warm.own / _usual_warm(results, name):.2f}" if usual else ""
        rows.append((name, f"{warm.own:.0f}", f"{warm.whole:.0f}", ratio))
    for name, warm in results.warm.items():
        if name not in results.demands:
            rows.append((f"*{name}*", f"{warm.own:.0f}", f"{warm.whole:.0f}", ""))
    return table(["function", "own", "all", "× usual way"], rows)


def _live(results: Results) -> str:
    it = results.live
    dollars = model.watched_exchange(
        read_results(results), live.SECONDS, it.posts, it.reads, it.writes
    )
    return (
        f"The worker with a reply of {live.CHUNKS} pieces in {live.SECONDS:.0f} s, over TLS: "
        f"{it.unwatched:.1f} ms of CPU in all if nobody watches, {it.watched:.1f} ms on one "
        f"connection, with {it.posts} posts. At {model.memory_of(model.WORKER)} MB, "
        f"{live.FIRST_TEXTS} first texts were posted {it.first_text * 1e3:.0f} ms after Gemini's "
        f"first piece (median; 95 % {it.first_text_95 * 1e3:.0f} ms). A batch of ten watched rooms "
        f"was answered after {it.ten:.2f} s, a batch of one after {it.one:.2f} s.\n\n"
        f"A million watched exchanges cost **${dollars * model.MILLION:.2f}** without Gemini: a reply "
        f"of {live.SECONDS:.0f} s, {model.ASSUMED['fetches']:.0f} requests in place of the polls, "
        f"and {model.ASSUMED['watched_replies']:.0f} replies per connection of "
        f"{model.ASSUMED['connection_minutes']:.0f} minutes."
    )


def _calls_table(results: Results) -> str:
    rows = []
    for name, demanded in results.demands.items():
        services = ", ".join(f"{count} {service}" for service, count in demanded.services.items())
        rows.append(
            (
                name,
                services or "none",
                demanded.calls,
                BUDGET.get(name, ""),
                demanded.depth,
                f"{demanded.bytes_out:,}",
                f"{demanded.bytes_in:,}",
                f"{demanded.reads:g}",
                f"{demanded.writes:g}",
            )
        )
    head = ["function", "calls", "number", "budget", "in a row", "bytes out", "bytes in", "reads"]
    return table([*head, "writes"], rows, left=2)


def _queue_table(results: Results) -> str:
    rows = [
        (
            f"{run['rooms']:,}",
            f"{run['prompts']:,}",
            run["workers"],
            f"{run['seconds']:.1f}",
            f"{run['rate']:.1f}",
            f"{run['latency']:.2f}",
            f"{run['latency_95']:.2f}",
        )
        for run in results.queue["runs"]
    ]
    head = ["rooms", "prompts", "workers", "seconds", "answers a second"]
    return table([*head, "beyond the model, median", "95 %"], rows, left=0)


def _fairness(results: Results) -> str:
    fair, batches = results.queue["fairness"], results.queue["batches"]
    return (
        f"Fairness: {fair['of_the_room']} prompts of one room were queued first, then one prompt from "
        f"each of {fair['singles']} other rooms; {fair['workers']} workers had answered these "
        f"{fair['singles']} after {fair['seconds']:.1f} s. {batches['rooms']} rooms took "
        f"{batches['together']:.2f} s in one batch, {batches['in_turn']:.1f} s in a batch per room; "
        "the worker is billed for this time."
    )


def _cost(results: Results) -> list[str]:
    known = read_results(results)
    rows = []
    for memory in (*model.MEMORIES, None):
        one, ten = (
            model.exchange(known, memory, together=full) * model.MILLION for full in (False, True)
        )
        cells = [f"{value:.2f}" for value in one.values()]
        what = f"{memory:,} MB" if memory else "**as deployed**"
        rows.append([what, *cells, f"**{one.total:.2f}**", f"**{ten.total:.2f}**"])
    head = ["memory", "requests", "compute", "tables", "Redis", "queue", "logs", "total"]
    still = model.idle(known)
    only, whole = model.container()
    dollars_of = functools.partial(model.monthly, model.exchange(known).total, still)
    assumed = model.ASSUMED
    return [
        (
            "Dollars per million exchanges, without free tiers and without Gemini: a prompt is sent, "
            f"polled {assumed['polls']:.0f} times, and answered in {assumed['model_seconds']:.0f} s; "
            f"{assumed['cold_share']:.0%} of the invocations are cold. *Total* has one prompt per "
            "batch, *ten together* a full batch. All functions have the same size, but the worker at "
            f"least {model.WORKER_LEAST} MB; the last row has the template's sizes."
        ),
        table([*head, "ten together"], rows),
        (
            f"Without a single request, a month costs ${still.total:.2f}: Lambda's polls of the "
            f"empty queues ${still.polling:.2f}, schedules such as the sweep every minute "
            f"${still.schedules:.2f} and their X-Ray traces ${still.traces:.2f}, alarms ${still.alarms:.2f}, the dashboard "
            f"${still.dashboard:.2f}, custom metrics ${still.metrics:.2f}. In an account with nothing else in it, AWS's always-free tiers "
            f"leave ${still.after_free_tiers:.2f}."
        ),
        (
            f"With traffic, X-Ray costs up to ${model.price_of_traces(model.SECONDS):.2f} more per month for the "
            "first invocation of each second and a share of the others, and custom metrics up to "
            f"${model.price_of_metrics(math.inf):.2f}."
        ),
        (
            f"The Express original at its smallest always-on size costs ${only:.2f} per month for "
            f"only the container, ${whole:.2f} with an address and the smallest MongoDB, without any "
            f"monitoring. {_crossings(only, whole, dollars_of)} (as deployed, monitoring "
            "included, free tiers unused)."
        ),
        "![Dollars per month by exchanges per month](tests/bench/cost/cost.svg)",
        (
            "Prices, with date and source, are in [prices.toml](tests/bench/cost/prices.toml); no page "
            f"confirms those of {', '.join(model.list_unchecked())}."
        ),
    ]


def _crossings(only: float, whole: float, dollars_of: Callable[[float], float]) -> str:
    """Return a sentence about the loads at which the stack costs as much as the container."""
    later = f"{model.find_crossing(whole, dollars_of):,} exchanges per month"
    if dollars_of(0) > only:
        return (
            f"This stack costs more than the first while idle, and as much as the second at {later}"
        )
    return f"This stack costs as much at {model.find_crossing(only, dollars_of):,} and {later}"


def _by_size(name: str, cells: Mapping[int, str]) -> list[str]:
    """Return the cells of a function's row; the template's memory size is bold."""
    deployed = model.memory_of(model.WORKER if name == model.FULL else name)
    cells = {**cells, deployed: f"**{cells[deployed]}**"}
    return [cells.get(memory, "") for memory in model.MEMORIES]


def _memory(results: Results) -> list[str]:
    known, assumed = read_results(results), model.ASSUMED
    warm, cold, costs = [], [], []
    for name, figures in results.curve.figures.items():
        peak = f"{results.curve.peaks[name]:.0f}"
        took = {at: f"{it.warm:.0f} / {it.slow:.0f}" for at, it in figures.items()}
        warm.append([name, *_by_size(name, took), peak])
        if name != model.FULL:
            init = statistics.median(it.init for it in figures.values())
            took = {at: f"{it.init + it.first:.0f}" for at, it in figures.items()}
            cold.append([name, f"{init:.0f}", *_by_size(name, took)])
        people = 10 if name == model.FULL else 1
        paid = {at: f"{model.compute(known[name], at) * model.MILLION:.2f}" for at in figures}
        for before, at in pairwise(figures):
            hourly = model.price_of_saved_hour(known[name], before, at, people)
            paid[at] += " (–)" if hourly is None else f" ({max(0.0, hourly) * 100:.1f} ¢)"
        costs.append([name, *_by_size(name, paid)])
    heads = [f"{memory:,} MB" for memory in model.MEMORIES]
    return [
        (
            "Functions with the CPU share that Lambda gives a memory size: in proportion, with a whole "
            "CPU at 1,769 MB, by a quota for every 20 ms. They are initialised with a whole CPU, as on "
            "Lambda ([throttle.py](tests/bench/throttle.py) and [memory.py](tests/bench/memory.py) name "
            "the sources). A CPU of this machine stands for one of Lambda's. Services answer over TLS "
            f"after an assumed time: DynamoDB {assumed['dynamodb_ms']:.0f} ms, Redis "
            f"{assumed['redis_ms']:.0f}, SQS {assumed['sqs_ms']:.0f}, SSM {assumed['ssm_ms']:.0f}, "
            f"Stripe {assumed['stripe_ms']:.0f}, Gemini {assumed['model_seconds']:.0f} s. The deployed "
            "size is bold. Milliseconds of a warm request, median / 95 %, and the peak MB at any size; "
            "each of the ten rooms has a megabyte of history for this peak:"
        ),
        table(["warm", *heads, "peak MB"], warm),
        (
            "Milliseconds of a cold start, from the start of the process to the first answer. They "
            "include the initialisation, which is the same at every size:"
        ),
        table(["cold", "initialisation", *heads], cold),
        (
            f"Dollars of compute per million requests, {assumed['cold_share']:.0%} of them cold. In "
            "brackets: the extra cost per hour of waiting that the size saves over the next smaller "
            "one (–: no time is saved):"
        ),
        table(["compute", *heads], costs),
    ]


def _size_table(results: Results) -> str:
    rows = []
    for name in sizes.GOALS:
        ours, shipped = results.sizes[name], results.sizes[f"{name}, as shipped"]
        saved = shipped.unzipped - ours.unzipped
        rows.append(
            (f"layer {name}", f"{ours.unzipped:.1f}", f"{ours.zipped:.1f}",
             f"{shipped.unzipped:.1f}", f"{saved:.1f}")
        )  # fmt: skip
    for name in results.demands:
        size = results.sizes[name]
        rows.append((name, f"{size.unzipped:.3f}", f"{size.zipped:.3f}", "", ""))
    return table(["what", "unzipped", "zipped", "as shipped", "saved"], rows)


def cost_plot(results: Results) -> str:
    """Return the plot of the monthly cost as an SVG."""
    known = read_results(results)
    dollars_of = functools.partial(model.monthly, model.exchange(known).total, model.idle(known))
    return model.plot(dollars_of, *model.container())
