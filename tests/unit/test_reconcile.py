"""The report of `make reconcile`."""

from typing import Any

from infra.stages.reconcile import report

RESULT: dict[str, Any] = {"compared": 12, "fixed": 0, "twice": 0, "changes": []}


def test_a_reconcile_report_without_differences_is_one_line() -> None:
    assert report(RESULT, dry_run=False) == ["12 compared with Stripe, 0 fixed."]


def test_a_dry_run_of_reconcile_reports_what_would_change() -> None:
    result = RESULT | {"fixed": 1, "changes": ["u_1: none, basic → active, pro until 2026"]}
    assert report(result, dry_run=True) == [
        "u_1: none, basic → active, pro until 2026",
        "12 compared with Stripe, 1 would be fixed; nothing was changed.",
    ]


def test_a_reconcile_report_refers_to_the_log_for_further_changes_and_double_payments() -> None:
    lines = report(RESULT | {"fixed": 3, "twice": 2, "changes": ["u_1: …"]}, dry_run=False)
    assert lines[1:3] == [
        "… and 2 more; the function's log has all changes",
        "2 users pay twice: find `user pays twice` in the function's log.",
    ]
