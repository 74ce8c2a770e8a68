"""Stages in samconfig.toml, and the checks before a deployment."""

import re
from pathlib import Path

import pytest

from infra.command import CommandError
from infra.stages import admin, deploy, put_secrets
from infra.stages import stage as stages
from infra.stages.put_secrets import SECRETS
from infra.stages.stage import Stage
from infra.template import settings
from tests.support.template import RESOURCES, TABLES, TEMPLATE

VARIABLES = settings(TEMPLATE)
BY_NAME = {secret.name: secret for secret in SECRETS}


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_every_stage_sets_only_known_parameters_and_all_required_parameters(name: str) -> None:
    stage = stages.read(name)
    required = {n for n, spec in TEMPLATE["Parameters"].items() if "Default" not in spec}
    assert set(stage.parameters) <= set(TEMPLATE["Parameters"])
    assert set(stage.parameters) >= required
    assert stage.stack == f"geminichat-{name}"


def test_prod_deploys_gradually_and_sends_alarms() -> None:
    parameters = stages.read("prod").parameters
    assert parameters["GradualDeployment"] == "true"
    assert {"AlertEmail", "MonthlyBudget", "CorsOrigins"} <= set(parameters)


def test_an_unknown_stage_is_refused_with_a_list_of_the_known_stages() -> None:
    with pytest.raises(CommandError, match=r"no stage 'staging'. It has: dev, prod"):
        stages.read("staging")


def test_a_stage_must_not_have_the_parameters_of_another_stage(tmp_path: Path) -> None:
    samconfig = tmp_path / "samconfig.toml"
    samconfig.write_text(
        '[qa.deploy.parameters]\nstack_name = "q"\nparameter_overrides = ["Stage=dev"]\n'
    )
    with pytest.raises(CommandError, match='must contain "Stage=qa"'):
        stages.read("qa", samconfig)


def test_a_stack_must_be_named_after_its_stage(tmp_path: Path) -> None:
    samconfig = tmp_path / "samconfig.toml"
    samconfig.write_text(
        '[qa.deploy.parameters]\nstack_name = "q"\nparameter_overrides = ["Stage=qa"]\n'
    )
    with pytest.raises(CommandError, match='must contain stack_name="geminichat-qa"'):
        stages.read("qa", samconfig)


def test_a_deployment_is_refused_until_every_parameter_is_filled_in() -> None:
    stage = Stage("dev", "geminichat-dev", {"Stage": "dev", "UpstashUrl": "https://YOUR-DATABASE"})
    with pytest.raises(CommandError, match=r"\[dev.deploy.parameters\]: fill in UpstashUrl\.$"):
        deploy.check(stage)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_point_in_time_recovery_and_outlives_its_stack(table: str) -> None:
    recovery = TABLES[table]["PointInTimeRecoverySpecification"]
    assert recovery == {"PointInTimeRecoveryEnabled": True}
    assert "DeletionProtectionEnabled" in TABLES[table]
    assert RESOURCES[table]["UpdateReplacePolicy"] == "Retain"
    assert RESOURCES[table]["DeletionPolicy"] == "RetainExceptOnCreate"


def test_every_secret_that_functions_read_can_be_stored() -> None:
    read = {
        value["Fn::Sub"].removeprefix("/geminichat/${Stage}/")
        for name, value in VARIABLES.items()
        if name.endswith("_PARAMETER")
    }
    assert read == {put_secrets.SIGNING_KEYS, *BY_NAME}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upstash-token", "AXhyASQgNjE2ODk0YzUtZmI4"),
        ("gemini-api-key", "AIzaSyD-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("stripe-secret-key", "sk_live_51abcdefghij"),
        ("stripe-secret-key", "rk_live_51abcdefghij"),
        ("stripe-webhook-secret", "whsec_abcdefghij"),
        ("stripe-webhook-secret", "whsec_abcdefghij,whsec_klmnopqrst"),
    ],
)
def test_a_plausible_secret_is_accepted(name: str, value: str) -> None:
    put_secrets.check(BY_NAME[name], value, stages.read("prod"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upstash-token", "short"),
        ("gemini-api-key", "two words that are long enough"),
        ("stripe-secret-key", "pk_live_51abcdefghij"),
        ("stripe-secret-key", "whsec_abcdefghij"),
        ("stripe-webhook-secret", "sk_live_51abcdefghij"),
        ("stripe-secret-key", "sk_test_51abcdefghij"),
    ],
)
def test_an_implausible_secret_is_refused_and_not_printed(name: str, value: str) -> None:
    with pytest.raises(CommandError) as refused:
        put_secrets.check(BY_NAME[name], value, stages.read("prod"))
    assert value not in str(refused.value)


def test_a_stripe_key_of_test_mode_is_allowed_outside_prod() -> None:
    put_secrets.check(BY_NAME["stripe-secret-key"], "sk_test_51abcdefghij", stages.read("dev"))


def test_the_summary_of_a_deployment_has_the_next_steps() -> None:
    said = deploy.summary(stages.read("dev"), {"ApiUrl": "https://x.example"})
    assert "https://x.example/webhook/stripe" in said
    assert re.search(r"health\?deep=1", said)


def test_after_a_declined_plan_the_summary_says_that_nothing_was_deployed() -> None:
    assert deploy.summary(stages.read("dev"), {}) == "Nothing was deployed."


def test_an_act_without_a_user_is_listed_without_empty_values() -> None:
    entry = {
        "at": "2026-11-25T12:00:00.000Z",
        "act": "redrive",
        "userId": "stage",
        "operator": "arn:aws:iam::1:user/ann",
        "reason": "ticket 41",
        "details": {"failure": None, "hours": 24.0},
    }
    assert list(admin.describe_acts([entry])) == [
        "2026-11-25T12:00:00.000Z  redrive (hours 24.0)  by arn:aws:iam::1:user/ann: ticket 41"
    ]
