"""Only the stages dev and local show one-time codes in answers."""

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
        ("staging", "response", False),
    ],
)
def test_only_the_stages_dev_and_local_show_codes_in_answers(
    stage: str, delivery: str, allowed: bool
) -> None:
    values = Values({"Stage": stage, "OtpDelivery": delivery}, {})
    rule = TEMPLATE["Rules"]["CodesAreReturnedInDevOnly"]
    refused = values.resolve(rule["RuleCondition"]) and not all(
        values.resolve(one["Assert"]) for one in rule["Assertions"]
    )
    assert refused is not allowed


def test_codes_are_not_in_answers_by_default() -> None:
    assert TEMPLATE["Parameters"]["OtpDelivery"]["Default"] == "aws"
