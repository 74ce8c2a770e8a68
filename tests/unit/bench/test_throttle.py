"""The share of a CPU that the benchmarks give to a function."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.bench.throttle import PERIOD, Quota, cpu_of, throttle
from tests.support import parallel


def run(quota: Quota, until: float, needs: Callable[[float], bool]) -> list[tuple[float, float]]:
    """Simulate a process under a quota; return the start and the length of each run."""
    now, used = 0.0, 0.0
    ran = []
    while now < until:
        may, pause = quota.update(now, used)
        assert pause > 0
        if may and needs(now):
            ran.append((now, pause))
            used += pause
        now += pause
    return ran


def always(_now: float) -> bool:
    return True


@pytest.mark.parametrize("memory", [128, 256, 512, 1024])
def test_a_busy_process_gets_its_share_of_every_period(memory: int) -> None:
    share = memory / 1769
    ran = run(Quota(share, 0.0, 0.0), 50 * PERIOD, always)
    for period in range(50):
        began, ends = (period - 1e-6) * PERIOD, (period + 1 - 1e-6) * PERIOD
        used = sum(lasted for at, lasted in ran if began <= at < ends)
        assert used == pytest.approx(share * PERIOD)


def test_a_throttled_process_uses_its_share_at_the_beginning_of_the_period() -> None:
    ran = run(Quota(0.25, 0.0, 0.0), 3 * PERIOD, always)
    assert [at for at, _ in ran] == pytest.approx([0.0, PERIOD, 2 * PERIOD])


def test_an_unused_cpu_share_is_lost_at_the_end_of_the_period() -> None:
    ran = run(Quota(0.25, 0.0, 0.0), 20 * PERIOD, lambda now: now > 10.5 * PERIOD)
    first = sum(lasted for at, lasted in ran if at < 10.999 * PERIOD)
    assert first == pytest.approx(0.25 * PERIOD)


def test_a_cpu_overrun_is_deducted_from_the_next_periods() -> None:
    quota = Quota(0.25, 0.0, 0.0)
    used = 0.25 * PERIOD * 3.5  # the process was checked too late
    looks = [quota.update(period * PERIOD, used)[0] for period in (0.9, 1, 2, 3, 4)]
    assert looks == [False, False, False, True, True]
    may, pause = quota.update(4.1 * PERIOD, used + 0.26 * PERIOD)
    assert not may
    assert pause == pytest.approx(0.9 * PERIOD)


def test_a_process_with_a_cpu_overrun_is_checked_again_when_the_period_ends() -> None:
    quota = Quota(0.25, 0.0, 0.0)
    may, pause = quota.update(0.3 * PERIOD, 0.25 * PERIOD)
    assert not may
    assert quota.is_used_up
    assert pause == pytest.approx(0.7 * PERIOD)


# ── A process ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses all the CPU it gets."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process
    process.kill()
    process.wait()


def state(process: subprocess.Popen[bytes]) -> str:
    """Return the letter of a process's state in Linux; T means stopped."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


wait_until = partial(parallel.wait_until, seconds=30, every=0.002)


def test_a_process_that_has_used_its_quota_is_stopped_until_the_next_period(
    busy: subprocess.Popen[bytes],
) -> None:
    now = 0.0
    with throttle(busy.pid, 0.25, clock=lambda: now):
        wait_until(lambda: state(busy) == "T")
        used = cpu_of(busy.pid)
        now = 20 * PERIOD
        wait_until(lambda: cpu_of(busy.pid) > used)  # it continued
        wait_until(lambda: state(busy) == "T")
        assert cpu_of(busy.pid) - used >= 0.2 * PERIOD  # it was not stopped too often


def test_a_process_has_the_whole_cpu_again_after_the_throttled_block(
    busy: subprocess.Popen[bytes],
) -> None:
    with throttle(busy.pid, 0.1, clock=lambda: 0.0):
        wait_until(lambda: state(busy) == "T")
    assert state(busy) != "T"
    used = cpu_of(busy.pid)
    wait_until(lambda: cpu_of(busy.pid) > used + 10 * PERIOD)


def test_a_process_with_a_whole_cpu_is_never_stopped(busy: subprocess.Popen[bytes]) -> None:
    with throttle(busy.pid, 1.0, clock=lambda: 0.0):
        used = cpu_of(busy.pid)
        wait_until(lambda: cpu_of(busy.pid) > used + 10 * PERIOD)


def test_a_process_that_ends_while_it_is_throttled_causes_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    with throttle(process.pid, 0.5) as rest:
        process.wait()
        rest()
