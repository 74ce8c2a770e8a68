"""The maximum cost of a day, computed from the template, the catalogue and the prices.

`python -m tests.support.worst_cost` prints the tables for RUNBOOK.md.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import get_args

from geminichat.domain import models, spending, titles
from geminichat.domain.catalogue import SHIPPED
from geminichat.domain.exports import ATTEMPTS
from geminichat.domain.messages import CONTENT_LENGTH, REPLY_SIZE
from geminichat.domain.plans import Plan
from geminichat.domain.quota import UNPROVEN_PROMPTS
from geminichat.domain.rooms import Instruction
from tests.bench.cost.model import MILLION, PRICES, memory_of
from tests.support.template import FUNCTIONS, TEMPLATE, mappings_of, of_type, routes_of

DAY = 86_400
"""The seconds of a day."""
CONCURRENCY = 1_000
"""The default number of functions that an AWS account runs at once."""
INSTRUCTION_LENGTH = int(get_args(Instruction.__value__)[1].max_length)
PAGE, READ_UNIT, WRITE_UNIT = 1024 * 1024, 4096, 1024
"""Bytes of the largest query, and of DynamoDB's read and write units."""
INVOCATIONS = 2 + int(PRICES["assumed"]["polls"])
"""The invocations for one prompt: the request that sends the prompt, the polls, the worker."""
LONGEST = "\U0001f600"
"""A character with the most bytes in UTF-8, and therefore with the most estimated tokens."""

CATALOGUE = models.Catalogue.read(SHIPPED)
GB_SECOND = float(PRICES["lambda"]["gb_second"])
PER_REQUEST = float(PRICES["http_api"]["request"] + PRICES["lambda"]["request"])
LOGS = float(PRICES["assumed"]["log_bytes"] / 1e9 * PRICES["logs"]["gb"])


def parameter(name: str) -> float:
    """Return the default of a parameter of the template."""
    return float(TEMPLATE["Parameters"][name]["Default"])


def timeout_of(function: str) -> int:
    """Return the seconds that the template gives a function."""
    properties = TEMPLATE["Globals"]["Function"] | FUNCTIONS[function]
    return int(properties["Timeout"])


def prompt(plan: Plan) -> float:
    """Return the dollars that are reserved for the most expensive prompt of a plan."""
    day = date.min  # no model is retired then
    names = [name for name in CATALOGUE.models if CATALOGUE.is_open_to(name, plan, day)]
    return max(reserve(CATALOGUE.choose(name, plan, day)) for name in names)


def unproven_prompt() -> float:
    """Return the dollars that are reserved for an unproven account's most expensive prompt."""
    return reserve(CATALOGUE.choose_cheapest(date.min))


def reserve(choice: models.Choice) -> float:
    """Return the dollars that are reserved for the longest prompt to a model."""
    reservation = spending.reserve(
        choice=choice,
        day="2026-01-01",
        chatroom_id="r",
        seq=MILLION,
        texts=[LONGEST * CONTENT_LENGTH, LONGEST * INSTRUCTION_LENGTH],
        history_characters=int(parameter("HistoryCharacters")),
        cap=0,
        stage_cap=spending.StageCap(0),
    )
    return reservation.amount / MILLION


def title() -> float:
    """Return the dollars that are charged for the most expensive title."""
    longest = titles.question(LONGEST * CONTENT_LENGTH, LONGEST * CONTENT_LENGTH)
    plain = titles.question("a" * CONTENT_LENGTH, "a" * CONTENT_LENGTH)
    now, cap = datetime(2026, 1, 1, tzinfo=UTC), spending.StageCap(0)
    model = CATALOGUE.cheapest(date.min)
    prices = [titles.reserve(model, asked, "r", now, 0, cap) for asked in (longest, plain)]
    return max(price.amount for price in prices) / MILLION


def requests_per_day() -> float:
    """Return the requests that the API's throttle allows per day."""
    [api] = of_type("AWS::Serverless::HttpApi").values()
    return float(api["DefaultRouteSettings"]["ThrottlingRateLimit"] * DAY)


def requests() -> float:
    """Return the dollars of a day in which the API answers as many requests as it can.

    The sum assumes as many functions as the account allows, all with the largest memory.
    """
    largest = max(memory_of(function) for function in FUNCTIONS if routes_of(function))
    compute = CONCURRENCY * DAY * largest / 1024 * GB_SECOND
    number = requests_per_day()
    traces = (DAY + PRICES["xray"]["share"] * (number - DAY)) * PRICES["xray"]["trace"]
    return float(number * (PER_REQUEST + LOGS) + compute + traces)


def workers() -> float:
    """Return the dollars of a day in which every worker runs all the time."""
    memory = memory_of("GeminiWorker") / 1024
    queues = len(mappings_of("GeminiWorker"))
    return queues * parameter("WorkerConcurrency") * DAY * memory * GB_SECOND


def export() -> float:
    """Return the dollars of an export if every attempt runs until the function's timeout."""
    memory = memory_of("ExportsWrite") / 1024
    return float(ATTEMPTS * timeout_of("ExportsWrite") * memory * GB_SECOND)


def bounds() -> Iterator[tuple[str, str, str]]:
    """Yield each source of cost, its maximum per day, and the parameters that bound it."""
    basic, pro = parameter("BasicDailyDollars"), parameter("ProDailyDollars")
    stage = parameter("StageDailyDollars")
    prompts = parameter("SignupsPerAddress") * 24 * UNPROVEN_PROMPTS
    unproven = parameter("UnprovenDailyPrompts")
    codes = parameter("CodesPerAddress") * 24
    texts = parameter("TextsPerDay")
    yield (
        "one prompt: unproven, basic, pro",
        f"${unproven_prompt():.2f}, ${prompt(Plan.BASIC):.2f}, ${prompt(Plan.PRO):.2f}",
        "the plan's most expensive model (the cheapest of all while unproven), `HistoryCharacters`",
    )
    yield (
        "the title of a room",
        f"${title():.4f}",
        "300 tokens of the cheapest model, within the user's and the stage's limits; `Titles`",
    )
    yield "a basic user at Gemini", f"${basic:.2f}", "`BasicDailyDollars`"
    yield "a pro user at Gemini", f"${pro:.2f}", "`ProDailyDollars`"
    yield (
        "a user's export",
        f"${export():.4f}",
        f"one per day; its transfer from S3 adds ${PRICES['s3']['transfer_gb']:.2f} per GB",
    )
    yield (
        "an anonymous address at Gemini",
        f"${min(min(prompts, unproven) * unproven_prompt(), stage):,.2f}",
        f"`SignupsPerAddress` ({prompts:,.0f} prompts); `UnprovenDailyPrompts` ({unproven:,.0f})",
    )
    yield (
        "all unproven accounts at Gemini",
        f"${min(unproven * unproven_prompt(), stage):,.2f}",
        f"`UnprovenDailyPrompts` ({unproven:,.0f} prompts)",
    )
    yield (
        "an anonymous address in texts",
        f"{min(codes, texts):,.0f} texts",
        f"`CodesPerAddress` ({codes:,.0f} codes per day); `TextsPerDay`",
    )
    yield "the stage at Gemini", f"${stage:,.2f}", "`StageDailyDollars`"
    yield "the stage in texts", f"{texts:,.0f} texts", "`TextsPerDay`"
    yield "the stage in workers", f"${workers():,.2f}", "`WorkerConcurrency`"
    yield (
        "the stage in requests",
        f"${requests():,.2f}",
        f"the throttle ({requests_per_day():,.0f} requests); {CONCURRENCY:,} functions at once",
    )


def routes() -> Iterator[tuple[str, str, str, str]]:
    """Yield, per memory size and timeout, the dollars per million requests, and the routes."""
    sizes: dict[tuple[int, int], list[str]] = {}
    for function in FUNCTIONS:
        if routes_of(function):
            sizes.setdefault((memory_of(function), timeout_of(function)), []).extend(
                f"`{route}`" for route in routes_of(function)
            )
    for (memory, timeout), found in sorted(sizes.items()):
        dollars = MILLION * (PER_REQUEST + LOGS + timeout * memory / 1024 * GB_SECOND)
        yield f"{memory:,}", str(timeout), f"${dollars:,.2f}", ", ".join(sorted(found))


def units(size: int, unit: int) -> int:
    """Return the number of DynamoDB units that a read or write of this size takes."""
    return -(-size // unit)


def items() -> Iterator[tuple[str, str, str]]:
    """Yield the largest items, their units, and the dollars per million requests for them."""
    read, write = float(PRICES["dynamodb"]["read_unit"]), float(PRICES["dynamodb"]["write_unit"])
    content, instruction = 4 * CONTENT_LENGTH, 4 * INSTRUCTION_LENGTH
    prompt_size = content + instruction
    page = units(PAGE, READ_UNIT)
    message = units(prompt_size, READ_UNIT) + units(REPLY_SIZE, READ_UNIT)
    # A write in a transaction counts twice; a prompt is put once, and changed twice until it ends.
    stored = 2 * units(prompt_size, WRITE_UNIT)
    ended = units(prompt_size, WRITE_UNIT) + stored + 2 * units(REPLY_SIZE, WRITE_UNIT)
    room = 2 * units(instruction, WRITE_UNIT)  # the room is updated
    for what, count, price in (
        ("a page of messages, 1 MB", page, read),
        ("a prompt with its reply", message, read),
        ("a prompt that is sent", stored + room, write),
        ("a prompt that is answered (lease, reply, end)", ended, write),
    ):
        yield what, f"{count:,}", f"${MILLION * count * price:,.2f}"
    every = INVOCATIONS * float(PRICES["xray"]["trace"]) * MILLION
    sampled = float(PRICES["xray"]["share"]) * every
    yield (
        "X-Ray's traces of a prompt, its polls and its reply",
        f"{INVOCATIONS} invocations",
        f"${sampled:,.2f}; ${every:,.2f} if all were recorded",
    )


def table(*rows: tuple[str, ...]) -> str:
    """Return a Markdown table; the first row is the header."""
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body]) + "\n"


def tables() -> tuple[str, str, str]:
    """Return the tables of RUNBOOK.md: the highest costs per day, by route, and by item."""
    return (
        table(("who or what", "at worst per day", "bounded by"), *bounds()),
        table(("MB", "seconds", "per million requests", "routes"), *routes()),
        table(("largest item", "units", "per million"), *items()),
    )


if __name__ == "__main__":
    print("\n".join(tables()))
