"""What the template allows a stage to do with codes."""

import pytest

from tests.support.template import TEMPLATE, Values


@pytest.mark.parametrize(
    ("stage", "delivery", "allowed"),
    [
        ("prod", "aws", True),
        ("prod", "response", False),
        ("dev", "response", True),
        ("local", "response", True),
        ("staging", "aws", True),
    ],
)
def test_codes_are_shown_in_answers_anywhere_but_in_prod(
    stage: str, delivery: str, allowed: bool
) -> None:
    values = Values({"Stage": stage, "OtpDelivery": delivery}, {})
    rule = TEMPLATE["Rules"]["ProdReturnsNoCodes"]
    refused = values.resolve(rule["RuleCondition"]) and not all(
        values.resolve(one["Assert"]) for one in rule["Assertions"]
    )
    assert refused is not allowed


def test_codes_are_not_shown_unless_asked_for() -> None:
    assert TEMPLATE["Parameters"]["OtpDelivery"]["Default"] == "aws"
