"""The deployed stack, started once per run on free ports in a new data folder."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import seen_secrets
from tests.support.browser import Browser, open_browser
from tests.support.deployed import RunningStack, run_system


@pytest.fixture(scope="session")
def secrets_used() -> set[str]:
    """Every secret that a test sent or received."""
    return set()


@pytest.fixture(scope="session")
def system(
    tmp_path_factory: pytest.TempPathFactory, secrets_used: set[str]
) -> Iterator[RunningStack]:
    """The whole system, deployed from the template; Gemini replies without a delay.

    At the end, the system's log must contain no secret of the run.
    """
    folder = tmp_path_factory.mktemp("stack") / "with a space"
    with run_system(folder, "--gemini-delay", "0") as found:
        assert found.http.get("/health").status_code == 200
        yield found
        assert_no_secret_is_logged(found, secrets_used)


def assert_no_secret_is_logged(system: RunningStack, secrets_used: set[str]) -> None:
    lines = system.log_lines()
    assert lines
    log = "\n".join(lines)
    found = seen_secrets.find_in(log, secrets_used | system.stored_secrets())
    assert not found, f"{len(found)} secrets are in the log"
    assert not re.search(r"eyJ[\w-]+\.[\w-]+\.|\$argon2id\$|s_[a-z2-7]{26}\.", log)


@pytest.fixture
def stack(system: RunningStack, secrets_used: set[str]) -> Iterator[RunningStack]:
    """The system, without the faults of earlier tests."""
    system.front.reset()
    system.gemini.reset()
    system.upstash.reset()
    system.stripe.reset()
    with seen_secrets.collect_secrets(secrets_used):
        yield system


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A new headless Chromium; the test is skipped if Chromium is not installed."""
    with open_browser(tmp_path / "profile") as found:
        yield found
