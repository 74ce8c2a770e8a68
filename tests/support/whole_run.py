"""Checks at the end of a run of all integration tests, on the records of all tests together.

With pytest-xdist, the worker processes hand their records to the process that reports.
"""

from pathlib import Path
from typing import Any

import pytest

from infra.paths import ROOT
from tests.support import declared_errors, grants

INTEGRATION = ROOT / "tests" / "integration"
WHOLE = ("not soak", "not exhaustive and not soak")
"""The marker expressions of `make test` and `make check`."""

RECORDS = {"errors": declared_errors.recorded, "uses": grants.recorded}
CHECKS = {"errors": declared_errors.list_unprovoked, "uses": grants.list_unused}
"""Functions that return a line for each entry that is missing in a record."""

_missing = pytest.StashKey[list[str]]()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the records of a worker process to this process's records."""
    output = getattr(node, "workeroutput", {})
    for name, record in RECORDS.items():
        record.update(tuple(entry) for entry in output.get(name, []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send a worker process's records to the main process; fail a whole run if a check does."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output.update({name: [[*entry] for entry in record] for name, record in RECORDS.items()})
    elif _is_whole(session):
        missing = [line for name, check in CHECKS.items() for line in check(RECORDS[name])]
        if missing:
            session.config.stash[_missing] = missing
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each missing entry."""
    for line in terminalreporter.config.stash.get(_missing, []):
        terminalreporter.write_line(f"FAILED {line}", red=True)


def _is_whole(session: pytest.Session) -> bool:
    """Return whether every integration test was run and no test failed."""
    option = session.config.option
    paths = [(session.config.invocation_params.dir / arg).resolve() for arg in session.config.args]
    return (
        not option.keyword
        and option.markexpr.strip() in WHOLE
        and not (option.deselect or option.ignore or option.ignore_glob)
        and not option.collectonly
        and not session.testsfailed
        and any(_covers(path) for path in paths)
    )


def _covers(path: Path) -> bool:
    return INTEGRATION.is_relative_to(path)
