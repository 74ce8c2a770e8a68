"""A check that the integration tests provoke every error that an endpoint declares.

`note` records each error that a test gets. At the end of a run of all integration tests in which
none failed, a declared error that no test got fails the run. With pytest-xdist the processes hand
their records to the one that reports.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from infra.paths import ROOT

INTEGRATION = ROOT / "tests" / "integration"
WHOLE = ("not soak", "not exhaustive and not soak")
"""The marker expressions of `make test` and `make check`."""
RECORD = "provoked errors"

type Provoked = tuple[str, str]
"""The route and the error's code."""

_provoked: set[Provoked] = set()
_missing = pytest.StashKey[list[str]]()


def note(route: str, code: str) -> None:
    """Record that a test got the error of this code from a route."""
    _provoked.add((route, code))


def never_provoked(provoked: Iterable[Provoked]) -> list[str]:
    """Return the declared errors that are not among those provoked, one line each."""
    from infra.openapi.endpoints import endpoints

    known = set(provoked)
    return [
        f"{endpoint.route} declares {error.__name__}, and no test provokes {error.code}"
        for endpoint in endpoints()
        for error in endpoint.declared
        if (endpoint.route, error.code) not in known
    ]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the record of another process."""
    output = getattr(node, "workeroutput", {})
    _provoked.update((route, code) for route, code in output.get(RECORD, []))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the record over, or fail the run that it shows to be incomplete."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[RECORD] = sorted(_provoked)
    elif _is_whole(session) and (missing := never_provoked(_provoked)):
        session.config.stash[_missing] = missing
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the declared errors that no test provoked."""
    for line in terminalreporter.config.stash.get(_missing, []):
        terminalreporter.write_line(f"FAILED {line}", red=True)


def _is_whole(session: pytest.Session) -> bool:
    """Return whether every integration test ran, and all tests that ran passed."""
    option = session.config.option
    paths = [(session.config.invocation_params.dir / arg).resolve() for arg in session.config.args]
    return (
        not option.keyword
        and option.markexpr.strip() in WHOLE
        and not option.collectonly
        and not session.testsfailed
        and any(_covers(path) for path in paths)
    )


def _covers(path: Path) -> bool:
    return INTEGRATION.is_relative_to(path)
