"""Cold starts: the time from a process's start to its first answer, over HTTP and over TLS."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench import subjects
from tests.bench.host import Cold
from tests.bench.lab import USUAL, Contender, Lab
from tests.bench.standins import Call

ROUNDS = 11


@dataclass(frozen=True)
class Figure:
    """Medians of several cold starts: milliseconds of wall and CPU time, and peak memory in MB."""

    wall: float
    cpu: float
    memory: float

    @classmethod
    def of(cls, colds: Sequence[Cold]) -> "Figure":
        """Return the medians of these cold starts."""
        return cls(
            statistics.median(cold.wall for cold in colds) * 1e3,
            statistics.median(cold.cpu for cold in colds) * 1e3,
            statistics.median(cold.memory for cold in colds),
        )


def contenders(lab: Lab, secured: Lab, calls: Mapping[str, Sequence[Call]]) -> dict[str, Contender]:
    """Return the functions and references to start, by their names in the results."""
    found = {"bare": lab.bare()}
    found["gemini import, as shipped"] = lab.gemini_import()
    for way in USUAL:
        for kind in sorted({subjects.ask_of(name).usual for name in subjects.http_functions()}):
            found[f"{way} {kind}"] = lab.usual(way, kind)
    for name in calls:
        found[name] = lab.ours(name)
        if calls[name]:
            found[over_tls(name)] = secured.ours(name)
        if name in subjects.http_functions() and calls[name]:
            found[f"floor {name}"] = lab.floor(name, calls[name], shipped=False)
            found[f"shipped floor {name}"] = lab.floor(name, calls[name], shipped=True)
    return found


def over_tls(name: str) -> str:
    """Return a function's name in the results of starts over TLS."""
    return f"{name} over TLS"


def measure(
    lab: Lab, calls: Mapping[str, Sequence[Call]], rounds: int = ROUNDS
) -> dict[str, Figure]:
    """Start every contender once per round, in the same order, and return its medians.

    An extra round at the beginning, which is not counted, brings every file into the disk cache.
    """
    with lab.use_tls() as secured:
        started = contenders(lab, secured, calls)
        taken: dict[str, list[Cold]] = {name: [] for name in started}
        for number in range(rounds + 1):
            for name, contender in started.items():
                cold = lab.cold(contender)
                if number:
                    taken[name].append(cold)
            print(f"  cold starts: round {number} of {rounds}", flush=True)
    return {name: Figure.of(colds) for name, colds in taken.items()}
