"""Limit a process to a share of one CPU, as Lambda limits a function by its memory size.

Lambda gives CPU in proportion to memory: one whole CPU at 1,769 MB [1]. It uses Linux's bandwidth
control: each period of 20 ms has a quota [2], and excess time is deducted from the next quota. A
cgroup would do the same, but ordinary users can rarely create a cgroup. So the process is stopped
once it has used up its quota, and continues in the next period.

1. docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
2. github.com/pwrdrvr/lambda-throttling has measured this on Lambda at these sizes
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PERIOD = 0.02
CLOSEST = 0.0002
"""The shortest time between two readings of a clock, in seconds."""
LEAST = 1e-9
"""Shorter times count as zero, in seconds."""


class Quota:
    """The CPU time that a process may still use. Times are in seconds, by any clock."""

    def __init__(self, share: float, now: float, used: float) -> None:
        """Begin a period; `used` is the CPU time that the process has used before."""
        self._quota = share * PERIOD
        self._began = now
        self._used = used
        self._left = self._quota

    @property
    def is_used_up(self) -> bool:
        """Whether the quota was used up at the last update."""
        return self._left < LEAST

    def update(self, now: float, used: float) -> tuple[bool, float]:
        """Update the quota; return whether the process may run, and the seconds to the next update.

        Unused time is lost at the end of a period; excess time is deducted from the next periods.
        """
        self._left -= used - self._used
        self._used = used
        periods = int((now - self._began + LEAST) / PERIOD)
        self._began += periods * PERIOD
        self._left = min(self._quota, self._left + periods * self._quota)
        ends = self._began + PERIOD - now
        return not self.is_used_up, ends if self.is_used_up else min(self._left, ends)


@contextmanager
def throttle(
    process: int, share: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[], None]]:
    """Limit a process to this share of one CPU while the block runs.

    Yields a function that waits until the quota allows the process to run.
    """
    if share >= 1:
        yield lambda: None
        return
    over = threading.Event()
    rested = threading.Event()
    quota = Quota(share, clock(), cpu_of(process))

    def hold() -> None:
        running = True
        try:
            while not over.is_set():
                may, pause = quota.update(clock(), cpu_of(process))
                if may != running:
                    os.kill(process, signal.SIGCONT if may else signal.SIGSTOP)
                    running = may
                if may:
                    rested.set()
                over.wait(max(pause, CLOSEST))
            if not running:
                os.kill(process, signal.SIGCONT)
        except OSError:
            rested.set()  # the process has ended by itself, and its caller will notice

    def rest() -> None:
        rested.clear()
        rested.wait(10)

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    try:
        yield rest
    finally:
        over.set()
        holder.join()


def cpu_of(process: int) -> float:
    """Return the seconds of CPU that a process has used. Raises OSError if it has ended."""
    return time.clock_gettime(((~process) << 3) | 2)  # Linux: that process's clock
