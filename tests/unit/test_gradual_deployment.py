"""SAM's translation of GradualDeployment, which applies to every function or to none."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.alarms import alarms
from tests.support.template import FUNCTIONS
from tests.support.translated import translate_template

MOST_RESOURCES = 500
"""CloudFormation's limit for one stack."""


@pytest.fixture(scope="module")
def gradual() -> Mapping[str, Any]:
    return translate_template(GradualDeployment="true")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_functions_new_version_gets_a_tenth_of_the_calls_and_is_rolled_back_on_an_alarm(
    function: str, gradual: Mapping[str, Any]
) -> None:
    group = gradual[f"{function}DeploymentGroup"]["Properties"]
    assert group["DeploymentConfigName"] == {
        "Fn::Sub": [
            "CodeDeployDefault.Lambda${ConfigName}",
            {"ConfigName": "Canary10Percent5Minutes"},
        ]
    }
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    configuration = group["AlarmConfiguration"]
    assert configuration["Enabled"]
    names = [alarm["Name"]["Fn::Sub"] for alarm in configuration["Alarms"]]
    assert names == ["geminichat-${Stage}-server-errors", "geminichat-${Stage}-worker-errors"]
    alias = gradual[f"{function}Aliaslive"]
    update = alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["DeploymentGroupName"] == {"Ref": f"{function}DeploymentGroup"}


def test_a_deployment_is_rolled_back_only_by_alarms_that_exist() -> None:
    assert {"server-errors", "worker-errors"} <= {alarm.name for alarm in alarms()}


def test_the_translated_template_fits_into_one_stack(gradual: Mapping[str, Any]) -> None:
    assert len(gradual) < MOST_RESOURCES


def test_without_gradual_deployment_the_stack_has_no_codedeploy_resource() -> None:
    at_once = translate_template(GradualDeployment="false")
    assert not [one for one in at_once.values() if one["Type"].startswith("AWS::CodeDeploy::")]
    aliases = {name: at_once[f"{name}Aliaslive"] for name in FUNCTIONS}
    assert not [name for name, alias in aliases.items() if "UpdatePolicy" in alias]
