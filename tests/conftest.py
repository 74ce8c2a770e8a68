"""The environment of every test, and how pytest-xdist divides the tests."""

import sys
from typing import Any

import pytest

from tests.support.environment import VALUES, set_environment
from tests.support.template import Values

pytest_plugins = ["tests.support.whole_run"]
sys.dont_write_bytecode = True  # a __pycache__ in layers/ would look like a change to SAM's cache

set_environment()

OWN_SYSTEM = ("test_artefacts.py", "test_lifecycle.py", "test_restart.py")
"""End-to-end test files that start a system of their own."""
SECOND_SYSTEM = (
    "test_console.py",
    "test_docs_page.py",
    "test_live.py",
    "test_prompts.py",
    "test_subscription.py",
)
"""End-to-end test files that share a second system; they take as long as all other files."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return a scheduler that runs all tests of a shared system in one process.

    xdist's own groups (--dist loadgroup) do not work with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = get_scope
    return scheduling


def pytest_itemcollected(item: pytest.Item) -> None:
    """Refuse a set of parameters, because each process would put them in another order."""
    for mark in item.iter_markers("parametrize"):
        if isinstance(mark.args[1], set | frozenset):
            raise pytest.UsageError(f"{item.nodeid}: take a list of parameters, not a set.")


def get_scope(test: str) -> str:
    """Return the group that a test runs in: the test itself, or the name of a shared system."""
    path = test.partition("::")[0]
    if not path.startswith("tests/e2e/") or path.endswith(OWN_SYSTEM):
        return test
    return "second system" if path.endswith(SECOND_SYSTEM) else "first system"


@pytest.fixture(scope="session")
def values() -> Values:
    """The values of the template's references in this run."""
    return VALUES
