"""Secrets into SSM and a stage's tables out of DynamoDB, against the emulated AWS."""

from collections.abc import Iterator
from uuid import uuid4

import boto3
import pytest

from geminichat.domain.signing import StoredKeys
from infra.command import CommandError
from infra.stages import deploy, destroy, put_secrets
from infra.stages.put_secrets import Secret
from infra.stages.stage import Stage

TOKEN = "AXhyASQgNjE2ODk0YzUtZmI4"
GIVEN = {"upstash-token": TOKEN, "gemini-api-key": "AIzaSyD-aaaaaaaaaaaaaaaaaaaa"}


@pytest.fixture
def stage() -> Stage:
    """A stage of which AWS knows nothing yet."""
    name = f"s{uuid4().hex[:8]}"
    return Stage(name, f"geminichat-{name}", {"Stage": name})


def answer(given: dict[str, str]) -> put_secrets.Ask:
    """Return somebody who has these secrets at hand."""

    def ask(secret: Secret, _is_there: bool) -> str:
        return given.get(secret.name, "")

    return ask


def held(stage: Stage, name: str) -> str:
    found = boto3.client("ssm").get_parameter(
        Name=f"{stage.secrets_path}/{name}", WithDecryption=True
    )["Parameter"]
    assert found["Type"] == "SecureString"
    return found["Value"]


def test_secrets_are_stored_and_never_told(stage: Stage) -> None:
    said = list(put_secrets.store(boto3.client("ssm"), stage, answer(GIVEN)))
    assert said == [
        "signing-keys: created",
        "upstash-token: stored",
        "gemini-api-key: stored",
        "stripe-secret-key: not set",
        "stripe-webhook-secret: not set",
    ]
    assert {name: held(stage, name) for name in GIVEN} == GIVEN
    keys = StoredKeys.read(held(stage, "signing-keys"))
    told = "\n".join(said)
    assert not any(value in told for value in [*GIVEN.values(), *keys.keys.values()])


def test_a_second_run_changes_what_is_given_and_keeps_the_rest(stage: Stage) -> None:
    ssm = boto3.client("ssm")
    list(put_secrets.store(ssm, stage, answer(GIVEN)))
    keys = held(stage, "signing-keys")
    said = list(put_secrets.store(ssm, stage, answer({"upstash-token": TOKEN[::-1]})))
    assert said[:2] == ["upstash-token: stored", "gemini-api-key: kept"]
    assert held(stage, "upstash-token") == TOKEN[::-1]
    assert held(stage, "gemini-api-key") == GIVEN["gemini-api-key"]
    assert held(stage, "signing-keys") == keys


def test_what_a_stage_cannot_do_without_is_asked_for_again(stage: Stage) -> None:
    with pytest.raises(CommandError, match=r"Still missing: gemini-api-key\. Run this"):
        list(put_secrets.store(boto3.client("ssm"), stage, answer({"upstash-token": TOKEN})))


def test_a_deployment_without_secrets_is_refused_by_name(stage: Stage) -> None:
    with pytest.raises(
        CommandError, match=f"gemini-api-key yet. Run `make secrets STAGE={stage.name}`"
    ):
        deploy.check(stage)
    list(put_secrets.store(boto3.client("ssm"), stage, answer(GIVEN)))
    deploy.check(stage)


TABLE = """
Resources:
  Kept:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
"""


@pytest.fixture
def deployed(stage: Stage) -> Iterator[Stage]:
    """A stage with a stack whose table stays, and with secrets."""
    stacks = boto3.client("cloudformation")
    stacks.create_stack(StackName=stage.stack, TemplateBody=TABLE)
    stacks.get_waiter("stack_create_complete").wait(
        StackName=stage.stack, WaiterConfig={"Delay": 1}
    )
    list(put_secrets.store(boto3.client("ssm"), stage, answer(GIVEN)))
    yield stage
    stacks.delete_stack(StackName=stage.stack)


def test_destroying_takes_stack_tables_and_secrets(deployed: Stage) -> None:
    [table] = destroy.tables_of(deployed)
    said = list(destroy.destroy(deployed, lambda _: deployed.name))
    assert f"{table}: deleted" in said
    assert table not in boto3.client("dynamodb").list_tables()["TableNames"]
    assert put_secrets.stored(boto3.client("ssm"), deployed) == set()
    with pytest.raises(CommandError, match="There is no stack"):
        destroy.tables_of(deployed)


def test_nothing_is_destroyed_without_its_name(deployed: Stage) -> None:
    with pytest.raises(CommandError, match="Nothing was deleted"):
        list(destroy.destroy(deployed, lambda _: "yes"))
    assert destroy.tables_of(deployed)
    assert put_secrets.stored(boto3.client("ssm"), deployed)


def test_prod_is_not_destroyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert destroy.main(["prod"]) == 1
    assert "does not delete prod" in capsys.readouterr().err


def test_main_takes_secrets_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UPSTASH_TOKEN", TOKEN)
    monkeypatch.setenv("GEMINI_API_KEY", GIVEN["gemini-api-key"])
    assert put_secrets.main(["dev"]) == 0
    output = capsys.readouterr()
    assert "upstash-token: stored" in output.out
    assert TOKEN not in output.out + output.err
