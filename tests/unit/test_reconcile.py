"""The output of `make reconcile`."""

from typing import Any

from infra.stages.reconcile import told

SAID: dict[str, Any] = {"compared": 12, "fixed": 0, "twice": 0, "changes": []}


def test_without_differences_the_output_is_one_line() -> None:
    assert told(SAID, dry_run=False) == ["12 compared with Stripe, 0 fixed."]


def test_a_dry_run_states_that_nothing_was_changed() -> None:
    said = SAID | {"fixed": 1, "changes": ["u_1: none, basic → active, pro until 2026"]}
    assert told(said, dry_run=True) == [
        "u_1: none, basic → active, pro until 2026",
        "12 compared with Stripe, 1 would be fixed; nothing was changed.",
    ]


def test_changes_that_are_not_listed_and_double_payments_refer_to_the_log() -> None:
    lines = told(SAID | {"fixed": 3, "twice": 2, "changes": ["u_1: …"]}, dry_run=False)
    assert lines[1:3] == [
        "… and 2 more, see the function's log",
        "2 pay twice: see `user pays twice` in the function's log.",
    ]
