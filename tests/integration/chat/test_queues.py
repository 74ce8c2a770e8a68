"""Prompts of the basic plan and of the pro plan use two queues."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.support.aftermath import run_sweep
from tests.support.lambdas import Poller
from tests.support.person import Person
from tests.support.queues import count_messages, purge
from tests.support.standins import StandIn
from tests.support.template import PROMPT_QUEUES, Values

PRO_QUEUE = "ProPromptsQueue"


@pytest.fixture
def pollers(values: Values) -> dict[str, Poller]:
    """One poller for each prompt queue; its key is the queue's logical id."""
    return {name: Poller([values.refs[name]], "GeminiWorker") for name in PROMPT_QUEUES}


def poll_each(pollers: dict[str, Poller]) -> Sequence[str]:
    """Poll each queue once, and return the logical ids of the queues that had a message."""
    return [name for name, poller in pollers.items() if poller.poll().bodies]


@pytest.mark.parametrize("plan", ["basic", "pro"])
def test_a_prompt_is_always_queued_in_the_queue_of_its_plan(
    plan: str,
    basic_user: Person,
    pro_user: Person,
    pollers: dict[str, Poller],
    google: StandIn,
) -> None:
    user, queue = (pro_user, PRO_QUEUE) if plan == "pro" else (basic_user, "PromptsQueue")
    room = user.open_room()
    message = user.ask(room, key="one")
    user.ask(room, key="one")
    google.fault("blocked")
    assert poll_each(pollers) == [queue]

    assert user.retry(room, message).status == 202
    purge(queue)
    assert run_sweep(timedelta(hours=1))["queued"] == 1
    assert poll_each(pollers) == [queue]
    assert user.fetch_message(room, message)["status"] == "answered"


def test_a_prompt_on_pro_is_paused_in_the_queue_of_the_pro_plan(
    pro_user: Person, pollers: dict[str, Poller], google: StandIn
) -> None:
    google.fault("error", status=503)
    pro_user.ask(pro_user.open_room())
    assert len(pollers[PRO_QUEUE].poll().failed) == 1
    assert count_messages(PRO_QUEUE) == (0, 1)
    assert pollers[PRO_QUEUE].poll().bodies == [], "the prompt was received during its pause"
