"""`make chaos`: use a running stack while parts of it fail, and audit the result."""

import asyncio
import json
import math
import random
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from infra.command import CommandError
from infra.local.chaos import audit
from infra.local.chaos.faults import Faults, Urls
from infra.local.chaos.users import World, run_users
from infra.local.client import FINAL
from infra.running import Stack

USERS = 4
"""The number of users who act at the same time; small, because a request may start a process."""
SETTLED_WITHIN = 600.0
"""The longest wait, in seconds, for the end of every prompt after the last fault. A killed worker's
room waits for the queue's visibility timeout, five minutes, and the sweep needs several rounds."""
WARM_WITHIN = 120.0
"""Seconds to wait for the first accepted prompt; the run's minutes begin after that prompt."""
PAGE_EVERY = 1.0
LINE_EVERY = 15.0
"""Seconds between two pages on a terminal (PAGE_EVERY) and in a file (LINE_EVERY)."""


@dataclass
class Report:
    """The counts of a run, how often each fault happened, and the problems that the audit found."""

    counts: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


async def chaos(
    stack: Stack,
    seed: int,
    minutes: float,
    show: Callable[[list[str]], None],
    sweep: Callable[[], Awaitable[object]] | None = None,
    spared: Collection[str] = (),
) -> Report:
    """Run users and faults, wait until every prompt has ended, and return the report.

    During the wait, `sweep` is called every few seconds, so that a test does not wait for the
    sweep's schedule. The faults in `spared` are left out. Raises CommandError if the stack has no
    stand-ins.
    """
    if stack.gemini is None or stack.stripe is None:
        raise CommandError(
            "Chaos needs the stand-ins for Gemini and Stripe: start `make up` without their keys."
        )
    limits = httpx.Limits(max_connections=None)
    options: dict[str, Any] = {"timeout": 40, "trust_env": False, "limits": limits}
    async with (
        httpx.AsyncClient(base_url=stack.api_url, **options) as api,
        httpx.AsyncClient(
            base_url=stack.stripe.url, auth=(stack.stripe.secret_key, ""), **options
        ) as stripe,
        httpx.AsyncClient(**options) as controls,
    ):
        world = World(api, stripe, secrets.token_hex(3), math.inf)
        urls = Urls(stack.aws.endpoint_url, stack.gemini.url, stack.stripe.url)
        faults = Faults(stack, urls, controls, random.Random(f"{seed} faults"), spared=spared)
        page = asyncio.create_task(_show(world, faults, seed, show))
        people = asyncio.create_task(run_users(world, seed, USERS))
        try:
            await _wait_for_first_prompt(world, time.monotonic() + WARM_WITHIN)
            world.until = time.monotonic() + 60 * minutes
            await asyncio.gather(people, faults.run(world.until))
        finally:
            people.cancel()
            await faults.end()
        tables = audit.Tables(stack)
        await _settle(world, tables, sweep)
        page.cancel()
        await asyncio.to_thread(_reconcile, stack)
        problems = [found async for found in _audit(world, tables, stripe)]
        counts = counts_of(world)
        if not counts["accepted"]:
            problems.append("no prompt was accepted, so the run tested nothing")
        show(describe(world, faults, seed))
        return Report(counts, faults.happened, problems)


async def _wait_for_first_prompt(world: World, deadline: float) -> None:
    """Wait until the first prompt is accepted or the deadline has passed."""
    while not any(prompt.id for user in world.people for prompt in user.prompts):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.2)


async def _settle(
    world: World, tables: audit.Tables, sweep: Callable[[], Awaitable[object]] | None
) -> None:
    """Poll the prompts until all have ended in the tables, for at most SETTLED_WITHIN."""
    deadline = time.monotonic() + SETTLED_WITHIN
    while time.monotonic() < deadline:
        if sweep:
            await sweep()
        await asyncio.gather(*(user.poll() for user in world.people))
        left, refunded = await asyncio.to_thread(audit.count_prompts, tables, world.people)
        world.counts["refunded"] = refunded
        if not left:
            await asyncio.gather(*(user.poll() for user in world.people))
            return
        await asyncio.sleep(3)


def _reconcile(stack: Stack) -> None:
    """Run the nightly comparison with Stripe, which corrects plans after lost events."""
    client = stack.aws.client("lambda")
    name = stack.functions["SubscriptionReconcile"]
    answer = client.invoke(FunctionName=name, Qualifier="live", Payload=json.dumps({}))
    if answer.get("FunctionError"):
        raise CommandError(f"SubscriptionReconcile failed: {answer['Payload'].read().decode()}")


async def _audit(world: World, tables: audit.Tables, stripe: httpx.AsyncClient) -> Any:
    """Yield every problem as a line that begins with the user's email."""
    customers = await audit.customers_of(stripe)
    today = datetime.now(UTC).date().isoformat()
    for user in world.people:
        found = list(await asyncio.to_thread(lambda one: [*audit.problems_of(one, tables)], user))
        usage = await asyncio.to_thread(tables.query, "UsageTable", "user_id", user.id)
        counted = sum(int(item.get("prompts", 0)) for item in usage if item["day"] == today)
        found += await audit.shown_problems(user, today, counted)
        found += await audit.plan_problems(user, stripe, customers)
        for problem in found:
            yield f"{user.email}: {problem}"


def counts_of(world: World) -> Counter[str]:
    """Count the users, the requests per outcome, and the prompts per outcome."""
    prompts = [prompt for user in world.people for prompt in user.prompts]
    counts = world.counts + Counter(prompt.status for prompt in prompts if prompt.status in FINAL)
    counts["users"] = len(world.people)
    counts["accepted"] = sum(bool(prompt.id) for prompt in prompts)
    counts["under way"] = sum(prompt.is_under_way for prompt in prompts)
    return counts


def describe(world: World, faults: Faults, seed: int) -> list[str]:
    """Return the lines of a page: the counts of prompts, requests and faults."""
    counts = counts_of(world)
    refused = {name: n for name, n in sorted(counts.items()) if name.startswith("refused")}
    prompts = ["accepted", *FINAL, "under way"]
    if "refunded" in counts:  # counted at the end of a run
        prompts.append("refunded")
    answers = ["requests", "without an answer", "answered 5xx", "given up"]
    left = world.until - time.monotonic()
    state = "waiting for the first prompt"
    if math.isfinite(left):
        state = f"{left:.0f} s left" if left > 0 else "no more faults, waiting for prompts to end"
    return [
        f"seed {seed}, {counts['users']} users, {state}",
        "prompts   " + ", ".join(f"{counts[name]} {name}" for name in prompts),
        "refused   " + (", ".join(f"{n} {name[9:]}" for name, n in refused.items()) or "none"),
        "requests  " + ", ".join(f"{counts[name]} {name}" for name in answers),
        "faults    " + (", ".join(f"{n} {name}" for name, n in faults.happened.items()) or "none"),
        f"latest    {faults.latest}",
    ]


async def _show(world: World, faults: Faults, seed: int, show: Callable[[list[str]], None]) -> None:
    every = PAGE_EVERY if sys.stdout.isatty() else LINE_EVERY
    while True:
        show(describe(world, faults, seed))
        await asyncio.sleep(every)


class Page:
    """The output of a run: a terminal shows only the latest page, a file gets all pages."""

    def __init__(self) -> None:
        self._height = 0

    def show(self, page: list[str]) -> None:
        if not sys.stdout.isatty():
            print("\n".join(page), flush=True)
            return
        up = f"\x1b[{self._height}F\x1b[J" if self._height else ""
        width = shutil.get_terminal_size().columns
        self._height = sum(1 + (len(line) - 1) // width for line in page)
        print(up + "\n".join(page), flush=True)


def main(stack: Stack, seed: int, minutes: float) -> int:
    """Run chaos on the terminal; return 0 if nothing was lost, doubled or miscounted."""
    print(
        f"Chaos for {minutes:g} minutes. Repeat this run with: make chaos SEED={seed}\n", flush=True
    )
    report = asyncio.run(chaos(stack, seed, minutes, Page().show))
    print()
    if not report.problems:
        print(f"Nothing was lost, doubled or miscounted (seed {seed}).")
        return 0
    print(f"{len(report.problems)} problems (seed {seed}):")
    for problem in report.problems:
        print(f"  {problem}")
    return 1
