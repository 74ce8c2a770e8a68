"""A short run of `make chaos`: almost every process fails once under load."""

import asyncio

import pytest

from infra.local.chaos.run import chaos
from tests.support.deployed import RunningStack

SECONDS = 24.0
SEED = 32
SLOW = ["AWS killed", "worker killed"]
"""Faults that take too long: cold starts of all functions, or five minutes until redelivery."""


@pytest.mark.timeout(400)
def test_no_prompt_is_lost_or_miscounted_in_a_short_chaos_run(
    stack: RunningStack,
) -> None:
    async def sweep() -> None:
        name = stack.description.functions["PromptsSweep"]
        await asyncio.to_thread(stack.aws("lambda").invoke, FunctionName=name, Qualifier="live")

    run = chaos(stack.description, SEED, SECONDS / 60, lambda _: None, sweep=sweep, spared=SLOW)
    report = asyncio.run(run)
    assert report.problems == [], report
    assert report.counts["accepted"] >= 3  # more on an idle machine
    assert len(report.happened) >= 15
