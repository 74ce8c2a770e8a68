"""What the benchmarks make of measured milliseconds: dollars, and what an hour of waiting costs."""

import pytest

from tests.bench.cost import model
from tests.bench.cost.model import Measured
from tests.bench.memory import Figure, Times

GB_SECOND = 0.0000133334


def of(warm: dict[int, float], cold: dict[int, float] | None = None) -> Measured:
    return Measured(warm, cold or warm, {}, 0.0, 0.0)


def test_a_function_has_its_memorys_share_of_a_cpu_and_at_most_one() -> None:
    assert model.share_of(1769) == 1.0
    assert model.share_of(3538) == 1.0
    assert model.share_of(512) == pytest.approx(0.2894, abs=0.0001)


def test_compute_is_paid_by_gigabytes_and_begun_milliseconds() -> None:
    assert model.compute(of({512: 99.2}), 512) == pytest.approx(0.1 * 0.5 * GB_SECOND)
    assert model.compute(of({1024: 100.0}), 1024) == pytest.approx(0.1 * GB_SECOND)


def test_a_hundredth_of_the_requests_is_cold() -> None:
    it = of({512: 100.0}, {512: 1100.0})
    assert model.milliseconds(it, 512) == pytest.approx(110.0)
    assert model.compute(it, 512) == pytest.approx(0.110 * 0.5 * GB_SECOND)


def test_an_hour_spared_costs_what_the_larger_size_costs_more() -> None:
    it = of({512: 100.0, 1024: 64.0})
    more = (0.064 - 0.1 * 0.5) * GB_SECOND
    assert model.hour_spared(it, 512, 1024) == pytest.approx(more / 0.036 * 3600)
    assert model.hour_spared(it, 512, 1024, people=10) == pytest.approx(more / 0.36 * 3600)


def test_a_size_that_is_faster_and_no_dearer_costs_nothing_an_hour() -> None:
    hourly = model.hour_spared(of({128: 400.0, 256: 190.0}), 128, 256)
    assert hourly is not None
    assert hourly < 0


@pytest.mark.parametrize("warm", [100.0, 99.7, 104.0])
def test_a_size_that_is_not_faster_spares_nobody_anything(warm: float) -> None:
    assert model.hour_spared(of({512: 100.0, 1024: warm}), 512, 1024) is None


def test_a_full_batch_is_shared_by_its_ten_prompts() -> None:
    walls = dict.fromkeys(model.MEMORIES, 1000.0)
    known = {name: of(walls) for name in (model.SEND, model.POLL, model.WORKER, model.FULL)}
    alone, together = (model.exchange(known, 512, together=full) for full in (False, True))
    worker = 0.5 * GB_SECOND
    assert alone.compute - together.compute == pytest.approx(0.9 * worker)


def test_the_worker_is_never_reckoned_with_less_than_it_needs() -> None:
    walls = dict.fromkeys(model.MEMORIES, 1000.0)
    known = {name: of(walls) for name in (model.SEND, model.POLL, model.WORKER)}
    others = 1 + model.ASSUMED["polls"]
    compute = model.exchange(known, 128).compute
    assert compute == pytest.approx((others * 128 + 256) / 1024 * GB_SECOND)


def test_of_several_starts_the_medians_count_and_what_19_of_20_stay_below() -> None:
    starts = [Times(0.1, 0.3, [n / 1e3 for n in range(1, 11)])] * 2
    starts.append(Times(0.5, 0.9, []))
    figure = Figure.of(starts)
    assert (figure.init, figure.first) == pytest.approx((100, 300))
    assert (figure.warm, figure.slow) == pytest.approx((5.5, 10))
    assert Figure.of([Times(0.1, 0.3, [n / 1e3 for n in range(1, 21)])]).slow == pytest.approx(19)
