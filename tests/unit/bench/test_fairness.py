"""How long honest users wait next to greedy users, simulated with the template's limits."""

import pytest

from tests.bench.fairness import QUEUES, Simulation, default

WORKERS = default("WorkerConcurrency")


@pytest.mark.parametrize("limit", ["BasicInFlight", "ProInFlight", "UnprovenInFlight"])
def test_a_limit_on_prompts_in_flight_is_at_most_half_of_the_workers(
    limit: str,
) -> None:
    assert default(limit) <= WORKERS // 2


@pytest.mark.parametrize("kind", QUEUES)
def test_one_users_slow_prompts_delay_no_other_user(kind: str) -> None:
    for waits in Simulation(WORKERS).run(1, kind).values():
        assert waits.most < 5


@pytest.mark.parametrize("workers", [2, WORKERS])
@pytest.mark.parametrize("kind", ["unproven", "basic"])
def test_greedy_users_without_pro_never_delay_pro_prompts(kind: str, workers: int) -> None:
    usual = Simulation(workers).run(0, kind)["honest pro"]
    for greedy in (20, 500):
        assert Simulation(workers).run(greedy, kind)["honest pro"].most <= usual.most + 2


@pytest.mark.parametrize("greedy", [20, 500])
def test_unproven_users_delay_few_prompts_of_the_basic_plan(greedy: int) -> None:
    waits = Simulation(WORKERS).run(greedy, "unproven")["honest basic"]
    assert waits.most < 5
