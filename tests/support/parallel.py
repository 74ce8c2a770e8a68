"""Run functions at the same moment, and wait for a condition."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial


def at_once[T](acts: Sequence[Callable[[], T]]) -> list[T]:
    """Run the functions at the same moment; return their results in order."""
    with ThreadPoolExecutor(max_workers=len(acts)) as pool:
        return [task.result() for task in [pool.submit(act) for act in acts]]


def repeat_at_once[T](act: Callable[[int], T], times: int) -> list[T]:
    """Call `act` with 0, 1, … at the same moment, and return the results in order."""
    return at_once([partial(act, number) for number in range(times)])


def wait_until(condition: Callable[[], object], seconds: float = 5.0, every: float = 0.005) -> None:
    """Wait until the condition is true. Fails after this many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true after {seconds:.0f} s"
        time.sleep(every)
