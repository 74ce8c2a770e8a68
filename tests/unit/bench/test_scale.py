"""SCALE.md has the tables of the model, and the simulated queue behaves like a queue."""

import re

import pytest

from tests.bench import scale

PAGE = scale.PAGE.read_text()


def test_scale_md_has_the_tables_of_the_model() -> None:
    assert scale.update(PAGE, scale.tables()) == PAGE, (
        "run `PYTHONPATH=layers/core .venv/bin/python -m tests.bench.scale`"
    )


def test_scale_md_has_at_least_five_limits_for_each_number_of_users() -> None:
    for users in scale.LEVELS:
        rows = PAGE.partition(f"<!-- {users:,} users -->")[2].partition("\n\n")[0].splitlines()
        assert len(rows) >= 2 + 5


def test_scale_md_says_how_many_users_are_too_many_for_one_queue() -> None:
    most = scale.MOST_WORKERS * scale.full_worker_rate() / scale.peak(1)
    found = re.search(r"at about ([\d.]+) million users per day", PAGE)
    assert found
    assert float(found[1]) == pytest.approx(most / 1e6, abs=0.05)


def test_prompts_do_not_wait_while_workers_are_idle() -> None:
    waits = scale.simulate(0.2, 50)
    assert (waits.slow, waits.batch) == (0, 1)


def test_batches_grow_with_the_number_of_waiting_prompts() -> None:
    few, many = scale.simulate(0.3, 2), scale.simulate(1.2, 2)
    assert 1 <= few.batch < many.batch <= scale.BATCH
    assert few.median < many.median


def test_waits_grow_while_more_prompts_arrive_than_full_batches_can_answer() -> None:
    rate = 2 * scale.full_worker_rate() * 10
    short, long = (scale.simulate(rate, 10, seconds=seconds) for seconds in (120, 480))
    assert long.median > 3 * short.median
    assert long.batch == pytest.approx(scale.BATCH, abs=0.5)


def test_waits_stay_the_same_if_workers_and_load_are_reduced_equally() -> None:
    assert scale.simulate(5_000, 10_000).slow == pytest.approx(scale.simulate(49, 98).slow, rel=0.5)
