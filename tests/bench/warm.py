"""Warm requests: the CPU time outside the SDKs' calls, for our functions and the usual way."""

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import subjects, trees
from tests.bench.host import BenchError
from tests.bench.lab import USUAL, Contender, Lab

ROUNDS = 3
TIMES = 120
HASHING_TIMES = 15


@dataclass(frozen=True)
class Figure:
    """Microseconds of CPU per request: outside the SDKs' calls, and in total."""

    own: float
    whole: float


def measure(lab: Lab, names: Sequence[str], rounds: int = ROUNDS) -> dict[str, Figure]:
    """Return the median figures of each function and reference over some rounds."""
    found: dict[str, Contender] = {"bare": lab.bare()}
    for way in USUAL:
        for kind in sorted({subjects.ask_of(name).usual for name in subjects.http_functions()}):
            found[f"{way} {kind}"] = lab.usual(way, kind)
    found |= {name: lab.ours(name) for name in names}
    taken: dict[str, list[Figure]] = {name: [] for name in found}
    for number in range(rounds):
        for name, contender in found.items():
            taken[name].append(_run(lab, contender, hashes=_hashes(name)))
        print(f"  warm requests: round {number + 1} of {rounds}", flush=True)
    return {
        name: Figure(
            statistics.median(figure.own for figure in figures),
            statistics.median(figure.whole for figure in figures),
        )
        for name, figures in taken.items()
    }


def _hashes(name: str) -> bool:
    known = subjects.ASKS.get(name)
    return bool(known.hashes) if known else name.endswith(" login")


def _run(lab: Lab, contender: Contender, *, hashes: bool) -> Figure:
    subject = contender.subject
    lab.host.world = replace(contender.world, calls=[], asked=0)
    env = {
        **subject.settings,
        "PATH": os.defpath,
        "LANG": "en_US.UTF-8",
        "PYTHONPATH": os.pathsep.join(map(str, subject.layers)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_FUNCTION_NAME": subject.name,
        "BENCH_EVENT": json.dumps(subject.event),
        "BENCH_TIMES": str(HASHING_TIMES if hashes else TIMES),
    }
    child = Path(__file__).with_name("warm_child.py")
    done = subprocess.run(
        [trees.PYTHON, "-sS", child], cwd=subject.code, env=env, capture_output=True, text=True
    )
    if done.returncode:
        raise BenchError(f"A warm request to {subject.name} failed:\n{done.stderr[-2000:]}")
    return Figure(**json.loads(done.stdout.splitlines()[-1]))
