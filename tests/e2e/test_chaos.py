"""A short `make chaos`: almost everything breaks under load, and nothing is lost or miscounted."""

import asyncio

import pytest

from infra.local.chaos.run import chaos
from tests.support.deployed import RunningStack

SECONDS = 24.0
SEED = 32
SLOW = ["AWS killed", "worker killed"]
"""All functions would start again, and a room would wait five minutes for its queue message."""


@pytest.mark.timeout(400)
def test_nothing_is_lost_doubled_or_miscounted_while_almost_everything_breaks_once(
    stack: RunningStack,
) -> None:
    async def sweep() -> None:
        name = stack.description.functions["PromptsSweep"]
        await asyncio.to_thread(stack.aws("lambda").invoke, FunctionName=name, Qualifier="live")

    run = chaos(stack.description, SEED, SECONDS / 60, lambda _: None, sweep=sweep, spared=SLOW)
    report = asyncio.run(run)
    assert report.problems == [], report
    assert report.counts["accepted"] >= 3  # more on a machine with less to do
    assert len(report.happened) >= 15
