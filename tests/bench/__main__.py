"""Run all measurements, print the table of goals, and write BENCHMARKS.md.

python -m tests.bench [--rounds 11] [--only Function …] [--part calls cold warm live memory …]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.command import CommandError
from infra.paths import ROOT
from tests.bench import (
    capacity,
    cold,
    live,
    memory,
    paint,
    report,
    scale,
    sizes,
    streaming,
    subjects,
    trees,
    warm,
)
from tests.bench.host import BenchError, Host
from tests.bench.lab import Lab
from tests.bench.standins import World
from tests.support.template import FUNCTIONS

PARTS = ("calls", "cold", "warm", "stream", "live", "memory", "sizes", "queue", "console")
REASONS = Path(__file__).with_name("reasons.md")
PLOT = Path(__file__).parent / "cost" / "cost.svg"


def main() -> int:
    """Run the bench; return 1 if a part could not be measured, else 0."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=cold.ROUNDS)
    parser.add_argument("--only", nargs="+", default=list(FUNCTIONS), metavar="FUNCTION")
    parser.add_argument("--part", nargs="+", default=list(PARTS), choices=PARTS)
    options = parser.parse_args()
    began = time.monotonic()
    try:
        ready = trees.prepare()
        host = Host(World({}, {}))
        with host.run():
            lab = Lab(host, ready, subjects.settings(host.url))
            found = _measure(lab, options)
    except (BenchError, CommandError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.part != list(PARTS) or options.only != list(FUNCTIONS):
        print("Only a part of the bench ran: BENCHMARKS.md was not changed.")
        return 0
    results = report.Results(
        **found,
        rounds=options.rounds,
        minutes=(time.monotonic() - began) / 60,
        when=f"{datetime.now(UTC):%Y-%m-%d}",
        requirements=[path for paths in trees.AS_SHIPPED.values() for path in paths],
    )
    reasons = REASONS.read_text().strip() if REASONS.exists() else ""
    (ROOT / "BENCHMARKS.md").write_text(report.document(results, reasons))
    PLOT.write_text(report.cost_plot(results))
    scale.main()
    print(report.goal_table(results))
    print(f"\nBENCHMARKS.md was written; the bench took {results.minutes:.0f} minutes.")
    return 0


def _measure(lab: Lab, options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names, parts = options.only, options.part
    if "queue" in parts:  # first, while nothing else runs
        found["queue"] = _measure_queue()
        _show({f"{run['rooms']} rooms": run for run in found["queue"]["runs"]})
    if "console" in parts:
        found["console"] = paint.measure(lab.settings.environment)
        _show(found["console"])
    if "calls" in parts:
        found["demands"] = {
            name: capacity.demand(lab.warm_calls(lab.ours(name)), lab.settings) for name in names
        }
        _show(found["demands"])
    if "sizes" in parts:
        found["sizes"] = sizes.measure(lab)
        _show(found["sizes"])
    if "warm" in parts:
        found["warm"] = warm.measure(lab, names)
        _show(found["warm"])
    if "stream" in parts:
        found["stream"] = streaming.measure(lab)
        _show(found["stream"])
    if "live" in parts:
        found["live"] = live.measure(lab)
        _show(vars(found["live"]))
    if "memory" in parts:
        found["curve"] = memory.measure(lab)
        _show(found["curve"].figures)
        _show(found["curve"].peaks)
    if "cold" in parts:
        calls = {name: lab.first_calls(lab.ours(name)) for name in names}
        found["cold"] = cold.measure(lab, calls, options.rounds)
        _show(found["cold"])
    return found


def _measure_queue() -> dict[str, Any]:
    """Measure the queue in a new process, because a process reads the table names only once."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "layers" / "core")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.queueing"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise BenchError("The queue could not be measured: see above.")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _show(figures: Mapping[str, Any]) -> None:
    for name, figure in figures.items():
        print(f"  {name:36} {figure}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
