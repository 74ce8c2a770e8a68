"""RUNBOOK.md: the tables of the worst case are computed from the template and the prices."""

import pytest

from geminichat.domain.plans import Plan
from infra.paths import ROOT
from tests.support import worst_cost
from tests.support.template import FUNCTIONS, routes_of

RUNBOOK = (ROOT / "RUNBOOK.md").read_text()


@pytest.mark.parametrize("table", worst_cost.tables(), ids=["bounds", "routes", "items"])
def test_the_runbook_has_the_tables_of_the_worst_case(table: str) -> None:
    assert table in RUNBOOK, (
        "`PYTHONPATH=layers/core .venv/bin/python -m tests.support.worst_cost` prints the tables"
    )


def test_every_route_has_its_price_per_million_requests() -> None:
    for function in FUNCTIONS:
        for route in routes_of(function):
            assert f"`{route}`" in worst_cost.tables()[1]


def test_no_prompt_costs_more_than_its_user_may_spend_in_a_day() -> None:
    assert worst_cost.prompt(Plan.BASIC) <= worst_cost.parameter("BasicDailyDollars")
    assert worst_cost.prompt(Plan.PRO) <= worst_cost.parameter("ProDailyDollars")
