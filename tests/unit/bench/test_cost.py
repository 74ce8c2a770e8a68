"""The cost model: dollars from measured milliseconds, and the price of a saved hour."""

import re

import pytest

from infra.paths import ROOT
from tests.bench.cost import model
from tests.bench.cost.model import Measured
from tests.bench.memory import Figure, Times
from tests.support.alarms import alarms

GB_SECOND = 0.0000133334


def build(warm: dict[int, float], cold: dict[int, float] | None = None) -> Measured:
    return Measured(warm, cold or warm, {}, 0.0, 0.0)


def test_a_functions_share_of_a_cpu_grows_with_its_memory_up_to_a_whole_cpu() -> None:
    assert model.share_of(1769) == 1.0
    assert model.share_of(3538) == 1.0
    assert model.share_of(512) == pytest.approx(0.2894, abs=0.0001)


def test_compute_is_billed_by_memory_and_by_milliseconds_rounded_up() -> None:
    assert model.compute(build({512: 99.2}), 512) == pytest.approx(0.1 * 0.5 * GB_SECOND)
    assert model.compute(build({1024: 100.0}), 1024) == pytest.approx(0.1 * GB_SECOND)


def test_the_mean_duration_assumes_that_one_request_in_a_hundred_is_a_cold_start() -> None:
    it = build({512: 100.0}, {512: 1100.0})
    assert model.milliseconds(it, 512) == pytest.approx(110.0)
    assert model.compute(it, 512) == pytest.approx(0.110 * 0.5 * GB_SECOND)


def test_the_price_of_a_saved_hour_is_the_extra_cost_of_the_larger_memory_size() -> None:
    it = build({512: 100.0, 1024: 64.0})
    more = (0.064 - 0.1 * 0.5) * GB_SECOND
    assert model.price_of_saved_hour(it, 512, 1024) == pytest.approx(more / 0.036 * 3600)
    assert model.price_of_saved_hour(it, 512, 1024, people=10) == pytest.approx(more / 0.36 * 3600)


def test_a_faster_memory_size_at_the_same_cost_saves_hours_for_free() -> None:
    hourly = model.price_of_saved_hour(build({128: 400.0, 256: 190.0}), 128, 256)
    assert hourly is not None
    assert hourly < 0


@pytest.mark.parametrize("warm", [100.0, 99.7, 104.0])
def test_a_memory_size_that_is_not_faster_saves_no_time(warm: float) -> None:
    assert model.price_of_saved_hour(build({512: 100.0, 1024: warm}), 512, 1024) is None


def test_the_cost_of_a_full_batch_is_split_among_its_ten_prompts() -> None:
    walls = dict.fromkeys(model.MEMORIES, 1000.0)
    known = {name: build(walls) for name in (model.SEND, model.POLL, model.WORKER, model.FULL)}
    single, together = (model.exchange(known, 512, together=full) for full in (False, True))
    worker = 0.5 * GB_SECOND
    assert single.compute - together.compute == pytest.approx(0.9 * worker)


def test_the_cost_model_gives_the_worker_at_least_its_minimum_memory() -> None:
    walls = dict.fromkeys(model.MEMORIES, 1000.0)
    known = {name: build(walls) for name in (model.SEND, model.POLL, model.WORKER)}
    others = 1 + model.ASSUMED["polls"]
    compute = model.exchange(known, 128).compute
    assert compute == pytest.approx((others * 128 + 256) / 1024 * GB_SECOND)


def test_the_cost_of_a_live_reply_includes_its_frames_and_a_share_of_a_connection() -> None:
    walls = dict.fromkeys(model.MEMORIES, 1000.0)
    known = {name: build(walls) for name in (model.SEND, model.POLL, model.WORKER)}
    seconds = model.ASSUMED["model_seconds"]

    def dollars(posts: int, reads: float, writes: float) -> float:
        return model.watched_exchange(known, seconds, posts, reads, writes)

    assert dollars(10, 0, 0) - dollars(0, 0, 0) == pytest.approx(10e-6)
    assert dollars(0, 8, 4) - dollars(0, 0, 0) == pytest.approx(8 * 0.125e-6 + 4 * 0.625e-6)
    poll = model.invocation(known[model.POLL], 512, http=True).total
    connection = (8 * poll + 4e-6 + 20 * 0.25e-6) / 10
    unwatched = model.exchange(known).total
    assert dollars(0, 0, 0) == pytest.approx(unwatched - poll + connection)
    longer = model.watched_exchange(known, seconds + 4, 0, 0, 0)
    assert longer - dollars(0, 0, 0) == pytest.approx(GB_SECOND)


def idle() -> model.Idle:
    """Return the idle cost if a sweep takes no time and makes no calls."""
    return model.idle({model.SWEEP: build({model.memory_of(model.SWEEP): 0.0})})


def test_the_idle_cost_includes_alarms_and_the_dashboard_and_scheduled_runs() -> None:
    watched = sum(len(alarm.metrics) for alarm in alarms())
    assert watched > 10
    assert idle().alarms == pytest.approx(watched * 0.10)
    assert idle().dashboard == pytest.approx(3.00)
    assert idle().traces == pytest.approx(model.scheduled_invocations() * 5e-6)
    assert idle().metrics == pytest.approx(0.30), "the sweep writes SpendingShare"
    assert model.scheduled_invocations() > 43_800, "the sweep runs every minute"
    assert idle().after_free_tiers == pytest.approx((watched - 10) * 0.10)


def test_x_ray_records_the_first_invocation_per_second_and_a_share_of_the_others() -> None:
    assert model.price_of_traces(1_000_000) == pytest.approx(5.00)
    assert model.price_of_traces(model.SECONDS + 1_000_000) == pytest.approx(
        model.SECONDS * 5e-6 + 0.25
    )


def test_a_month_costs_the_idle_cost_plus_the_cost_of_its_exchanges() -> None:
    assert model.monthly(30e-6, idle(), 0) == pytest.approx(idle().total)
    busy = model.monthly(30e-6, idle(), 100_000) - idle().total
    assert busy == pytest.approx(3.00 + 500_000 * 5e-6 + 7 * 0.30)


def test_break_even_is_the_load_at_which_a_month_costs_the_fixed_price() -> None:
    assert model.find_crossing(10.0, lambda exchanges: 1 + exchanges * 30e-6) == 300_000


BENCHMARKS = (ROOT / "BENCHMARKS.md").read_text()
README = (ROOT / "README.md").read_text()


def test_the_documents_state_the_idle_cost_of_the_deployed_stack() -> None:
    found = re.search(r"Without a single request, a month costs \$([\d.]+)", BENCHMARKS)
    assert found
    stated = float(found[1])
    still = idle()
    fixed = still.polling + still.alarms + still.dashboard + still.traces + still.metrics
    assert fixed < stated < fixed + 0.5, "run `make bench`"
    for name in ("README.md", "DEPLOYING.md"):
        assert f"about ${stated:.0f} per month while idle" in (ROOT / name).read_text(), name


def read_goal(what: str) -> list[float]:
    """Return the measured figures of a row in the table of goals."""
    [figures] = re.findall(rf"\| {what}[^|]*\|[^|]*\| ([^|]+)", BENCHMARKS)
    return [float(one) for one in re.findall(r"[\d.]+", figures)]


def test_the_documents_have_the_figures_of_the_last_bench() -> None:
    [left] = re.findall(r"always-free tiers leave \$(\d+\.\d+)", BENCHMARKS)
    assert f"about ${float(left):.0f} of it beyond AWS's free tiers" in README
    deploying = (ROOT / "DEPLOYING.md").read_text()
    assert f"AWS's free tiers leave about ${float(left):.0f}." in deploying
    low, high, _ = read_goal("Cold start, over the usual way")
    assert "a fifth to a third of the CPU of the usual stacks" in " ".join(README.split())
    assert (round(low, 1), round(high, 1)) == (0.2, 0.3)
    [batch] = read_goal("A batch of ten rooms, over one room after another")
    assert "A batch of ten rooms is answered in the time of one" in " ".join(README.split())
    assert batch == pytest.approx(0.1, abs=0.02)


def test_a_bench_figure_has_the_medians_and_the_95th_percentile_of_all_starts() -> None:
    starts = [Times(0.1, 0.3, [n / 1e3 for n in range(1, 11)])] * 2
    starts.append(Times(0.5, 0.9, []))
    figure = Figure.of(starts)
    assert (figure.init, figure.first) == pytest.approx((100, 300))
    assert (figure.warm, figure.slow) == pytest.approx((5.5, 10))
    assert Figure.of([Times(0.1, 0.3, [n / 1e3 for n in range(1, 21)])]).slow == pytest.approx(19)
