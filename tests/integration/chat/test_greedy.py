"""The costs of the most expensive attacks, which the limits keep low.

For slow prompts see tests/unit/bench/test_fairness.py, which simulates how long other users wait.
"""

import pytest

from geminichat import config
from geminichat.domain import times
from geminichat.domain.quota import UNPROVEN_PROMPTS
from geminichat.runtime import clock
from geminichat.tables.usage import Usage
from tests.support import worst_cost
from tests.support.environment import VALUES
from tests.support.lambdas import Api, Poller
from tests.support.person import Person, check_problem
from tests.support.standins import StandIn

DAILY_PROMPTS = 5


def get_committed_dollars(user_id: str) -> float:
    """Return the dollars that a user's prompts of today have cost or may still cost."""
    usage = Usage.get(user_id, times.day(clock.now()), consistent_read=True)
    assert usage.committed is not None
    return float(usage.committed) / 1e6


def test_blocked_prompts_and_their_retries_count_towards_the_daily_quota(
    basic_user: Person, worker: Poller, google: StandIn
) -> None:
    google.fault("blocked", times="always")
    room = basic_user.open_room()
    messages: list[str] = []
    while (reply := basic_user.send(room)).status == 202:
        messages.append(reply.data["messageId"])
        worker.drain()
    check_problem(reply, 429, "quota-exceeded")
    for message in messages:
        check_problem(basic_user.retry(room, message), 429, "quota-exceeded")
    asked = google.requests()
    assert len(asked) == DAILY_PROMPTS
    assert get_committed_dollars(basic_user.id) <= DAILY_PROMPTS * worst_cost.unproven_prompt()


@pytest.mark.usefixtures("source")
def test_unproven_accounts_are_limited_per_ip_address_and_get_only_the_cheapest_model(
    api: Api, worker: Poller, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_ups = 3
    monkeypatch.setenv("SIGNUPS_PER_ADDRESS", str(sign_ups))
    monkeypatch.setenv("UNPROVEN_IN_FLIGHT", str(VALUES.refs["UnprovenInFlight"]))
    Usage("unproven", times.day(clock.now())).delete()
    strangers: list[Person] = []
    while (stranger := Person(api)).sign_up().status == 201:
        strangers.append(stranger)
    assert len(strangers) == sign_ups
    for stranger in strangers:
        room = stranger.open_room(model="gemini-3.6-flash")
        while stranger.send(room).status == 202:
            worker.drain()
    asked = google.requests()
    assert len(asked) == sign_ups * UNPROVEN_PROMPTS
    assert {one["model"] for one in asked} == {config.catalogue().cheapest(clock.now().date()).id}
    for stranger in strangers:
        assert get_committed_dollars(stranger.id) <= UNPROVEN_PROMPTS * worst_cost.unproven_prompt()
