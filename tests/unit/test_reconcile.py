"""What `make reconcile` tells a person."""

from typing import Any

from infra.stages.reconcile import told

SAID: dict[str, Any] = {"compared": 12, "mended": 0, "twice": 0, "changes": []}


def test_where_all_is_as_stripe_says_there_is_one_line() -> None:
    assert told(SAID, dry_run=False) == ["12 compared with Stripe, 0 mended."]


def test_a_dry_run_says_that_nothing_was_changed() -> None:
    said = SAID | {"mended": 1, "changes": ["u_1: none, basic → active, pro until 2026"]}
    assert told(said, dry_run=True) == [
        "u_1: none, basic → active, pro until 2026",
        "12 compared with Stripe, 1 would be mended; nothing was changed.",
    ]


def test_what_does_not_fit_into_the_answer_and_who_pays_twice_is_in_the_log() -> None:
    lines = told(SAID | {"mended": 3, "twice": 2, "changes": ["u_1: …"]}, dry_run=False)
    assert lines[1:3] == [
        "… and 2 more, see the function's log",
        "2 pay twice: see `user pays twice` in the function's log.",
    ]
