"""A short `make chaos`: everything breaks once under load, and nothing is lost or miscounted."""

import asyncio

import pytest

from infra.local.chaos.run import Report, chaos
from infra.local.cloud.deploy import Cloud
from tests.support.deployed import RunningStack

SECONDS = 24.0


@pytest.mark.timeout(400)
def test_nothing_is_lost_doubled_or_miscounted_while_everything_breaks_once(
    stack: RunningStack,
) -> None:
    Cloud(stack.description.aws).save()  # the log so far: a kill would lose it

    async def sweep() -> None:
        name = stack.description.functions["PromptsSweep"]
        await asyncio.to_thread(stack.aws("lambda").invoke, FunctionName=name, Qualifier="live")

    report: Report = asyncio.run(
        chaos(stack.description, 1, SECONDS / 60, show=lambda _: None, hurry=sweep)
    )
    assert report.problems == []
    assert report.counts["accepted"] > 10
    assert len(report.happened) >= 15
