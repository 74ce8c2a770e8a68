"""Commands on a stage, against the emulated AWS."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from aiohttp import web
from botocore.exceptions import WaiterError

from geminichat.domain.signing import StoredKeys
from infra.command import CommandError
from infra.local.serving import free_port
from infra.stages import deploy, destroy, put_secrets, stack
from infra.stages.put_secrets import Secret
from infra.stages.stage import Stage
from tests.support import stage_commands
from tests.support.standins import run_app

TOKEN = "AXhyASQgNjE2ODk0YzUtZmI4"
GIVEN = {"upstash-token": TOKEN, "gemini-api-key": "AIzaSyD-aaaaaaaaaaaaaaaaaaaa"}


@pytest.fixture(autouse=True)
def tables_of_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read tables from MiniStack, because stacks create their tables there in every run."""
    monkeypatch.delenv("AWS_ENDPOINT_URL_DYNAMODB", raising=False)


@pytest.fixture
def stage() -> Stage:
    """A stage with a new name."""
    name = f"s{uuid4().hex[:8]}"
    return Stage(name, f"geminichat-{name}", {"Stage": name})


def answer_with(given: dict[str, str]) -> put_secrets.Ask:
    """Return a function that answers the question for each secret from `given`."""

    def ask(secret: Secret, _is_there: bool) -> str:
        return given.get(secret.name, "")

    return ask


def read_secret(stage: Stage, name: str) -> str:
    found = boto3.client("ssm").get_parameter(
        Name=f"{stage.secrets_path}/{name}", WithDecryption=True
    )["Parameter"]
    assert found["Type"] == "SecureString"
    return found["Value"]


def test_make_secrets_stores_secrets_and_does_not_print_them(stage: Stage) -> None:
    lines = list(put_secrets.store(boto3.client("ssm"), stage, answer_with(GIVEN)))
    assert lines == [
        "signing-keys: created",
        "upstash-token: stored",
        "gemini-api-key: stored",
        "stripe-secret-key: not set",
        "stripe-webhook-secret: not set",
    ]
    assert {name: read_secret(stage, name) for name in GIVEN} == GIVEN
    keys = StoredKeys.read(read_secret(stage, "signing-keys"))
    output = "\n".join(lines)
    assert not any(value in output for value in [*GIVEN.values(), *keys.keys.values()])


def test_a_second_run_of_make_secrets_replaces_only_the_secrets_that_are_entered(
    stage: Stage,
) -> None:
    ssm = boto3.client("ssm")
    list(put_secrets.store(ssm, stage, answer_with(GIVEN)))
    keys = read_secret(stage, "signing-keys")
    lines = list(put_secrets.store(ssm, stage, answer_with({"upstash-token": TOKEN[::-1]})))
    assert lines[:2] == ["upstash-token: stored", "gemini-api-key: kept"]
    assert read_secret(stage, "upstash-token") == TOKEN[::-1]
    assert read_secret(stage, "gemini-api-key") == GIVEN["gemini-api-key"]
    assert read_secret(stage, "signing-keys") == keys


def test_make_secrets_without_a_required_secret_is_an_error(stage: Stage) -> None:
    with pytest.raises(CommandError, match=r"Still missing: gemini-api-key\. Run"):
        list(put_secrets.store(boto3.client("ssm"), stage, answer_with({"upstash-token": TOKEN})))


def test_a_deployment_without_a_required_secret_is_refused(stage: Stage) -> None:
    with pytest.raises(
        CommandError, match=f"gemini-api-key yet. Run `make secrets STAGE={stage.name}`"
    ):
        deploy.check(stage)
    list(put_secrets.store(boto3.client("ssm"), stage, answer_with(GIVEN)))
    deploy.check(stage)


RETAINED = """
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
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
    """A stage with secrets and with a stack that retains its table and bucket."""
    stacks = boto3.client("cloudformation")
    stacks.create_stack(StackName=stage.stack, TemplateBody=RETAINED)
    stacks.get_waiter("stack_create_complete").wait(
        StackName=stage.stack, WaiterConfig={"Delay": 1}
    )
    list(put_secrets.store(boto3.client("ssm"), stage, answer_with(GIVEN)))
    yield stage
    stacks.delete_stack(StackName=stage.stack)


def plan_update(deployed: Stage, template: str) -> str:
    """Return the ARN of a change set that replaces the stack's template."""
    stacks = boto3.client("cloudformation")
    made = stacks.create_change_set(
        StackName=deployed.stack, ChangeSetName=f"c{uuid4().hex}", TemplateBody=template
    )
    stacks.get_waiter("change_set_create_complete").wait(
        ChangeSetName=made["Id"], WaiterConfig={"Delay": 1}
    )
    return made["Id"]


INDEX = """
      LocalSecondaryIndexes:
        - IndexName: by-day
          KeySchema: [{AttributeName: id, KeyType: HASH}, {AttributeName: day, KeyType: RANGE}]
          Projection: {ProjectionType: ALL}"""
WITH_DAY = RETAINED.replace(
    "AttributeType: S}]", "AttributeType: S}, {AttributeName: day, AttributeType: S}]"
)
OTHER_KEY = RETAINED.replace("AttributeName: id", "AttributeName: other")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (OTHER_KEY, "because of .*KeySchema"),
        (WITH_DAY.rstrip() + INDEX, "because of .*LocalSecondaryIndexes"),
        (RETAINED.replace("Kept:", "Renamed:"), "is no longer in the template"),
    ],
    ids=["key", "local index", "removed"],
)
def test_a_change_set_that_replaces_or_removes_a_table_is_refused_unless_the_table_is_named(
    template: str, why: str, deployed: Stage
) -> None:
    stacks, change_set = boto3.client("cloudformation"), plan_update(deployed, template)
    with pytest.raises(CommandError, match=f"(?s)Nothing.*Kept: .*{why}.*REPLACE=Kept"):
        stack.refuse_data_loss(stacks, change_set)
    stack.refuse_data_loss(stacks, change_set, ["Kept"])


def test_a_change_set_that_adds_a_global_index_is_accepted(deployed: Stage) -> None:
    stacks = boto3.client("cloudformation")
    added = WITH_DAY.rstrip() + INDEX.replace("Local", "Global")
    stack.refuse_data_loss(stacks, plan_update(deployed, added))


def test_the_stack_policy_protects_tables_and_buckets_and_queues(
    deployed: Stage,
) -> None:
    """The test reads the policy, because MiniStack does not enforce it."""
    stacks = boto3.client("cloudformation")
    stack.protect(stacks, deployed.stack)
    stored = json.loads(stacks.get_stack_policy(StackName=deployed.stack)["StackPolicyBody"])
    allowing, denying = stored["Statement"]
    assert (allowing["Effect"], allowing["Action"]) == ("Allow", "Update:*")
    assert (denying["Effect"], denying["Resource"]) == ("Deny", "*")
    assert set(denying["Action"]) == {"Update:Replace", "Update:Delete"}
    kinds = denying["Condition"]["StringEquals"]["ResourceType"]
    holding = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue"}
    assert set(kinds) == holding

    stack.protect(stacks, deployed.stack, ["Kept"])
    stored = json.loads(stacks.get_stack_policy(StackName=deployed.stack)["StackPolicyBody"])
    assert stored["Statement"][1]["NotResource"] == ["LogicalResourceId/Kept"]
    assert "Resource" not in stored["Statement"][1]


def test_a_failed_first_deployment_is_explained_and_its_empty_stack_is_deleted(
    stage: Stage,
) -> None:
    stacks = boto3.client("cloudformation")
    assert list(stack.delete_if_creation_failed(stacks, stage.stack)) == []
    with_role = (
        RETAINED
        + """
  Broken:
    Type: AWS::SSM::Parameter
    DependsOn: Kept
    Properties: {Type: Nonsense, Value: x}
"""
    )
    stacks.create_stack(StackName=stage.stack, TemplateBody=with_role)
    with contextlib.suppress(WaiterError):
        stacks.get_waiter("stack_create_complete").wait(
            StackName=stage.stack, WaiterConfig={"Delay": 1}
        )
    assert stack.status(stacks, stage.stack) == "ROLLBACK_COMPLETE"

    explained = deploy.explain(stage, CommandError("sam deploy failed"), "")
    assert explained.startswith("The deployment failed: Broken: ")
    assert "All resources of the deployment were deleted." in explained

    lines = list(stack.delete_if_creation_failed(stacks, stage.stack))
    assert lines[0].startswith(f"The first deployment of {stage.stack} failed: Broken: ")
    assert stack.status(stacks, stage.stack) is None


def test_destroy_deletes_the_stack_and_its_data_and_its_secrets(deployed: Stage) -> None:
    [table], [bucket] = destroy.tables_of(deployed), destroy.buckets_of(deployed)
    boto3.client("s3").put_object(Bucket=bucket, Key="u_1/e_1.zip", Body=b"zip")
    lines = list(destroy.destroy(deployed, lambda _: deployed.name))
    assert f"{table}: deleted" in lines
    assert f"{bucket}: deleted" in lines
    assert table not in boto3.client("dynamodb").list_tables()["TableNames"]
    assert put_secrets.list_stored(boto3.client("ssm"), deployed) == set()
    with pytest.raises(CommandError, match="There is no stack"):
        destroy.tables_of(deployed)


def test_destroy_deletes_nothing_without_the_stages_name(deployed: Stage) -> None:
    with pytest.raises(CommandError, match="Nothing was deleted"):
        list(destroy.destroy(deployed, lambda _: "yes"))
    assert destroy.tables_of(deployed)
    assert put_secrets.list_stored(boto3.client("ssm"), deployed)


def test_destroy_refuses_prod(capsys: pytest.CaptureFixture[str]) -> None:
    assert destroy.main(["prod"]) == 1
    assert "does not delete prod" in capsys.readouterr().err


def test_make_secrets_without_a_terminal_reads_environment_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UPSTASH_TOKEN", TOKEN)
    monkeypatch.setenv("GEMINI_API_KEY", GIVEN["gemini-api-key"])
    assert put_secrets.main(["dev"]) == 0
    output = capsys.readouterr()
    assert "upstash-token: stored" in output.out
    assert TOKEN not in output.out + output.err


# ── How operators log in ─────────────────────────────────────────────────────────────────────────


CONFIG = """
[profile ops]
region = eu-west-1

[profile ops-role]
region = eu-west-1
role_arn = arn:aws:iam::000000000000:role/Operator
source_profile = ops

[profile ops-sso]
region = eu-west-1
sso_session = company
sso_account_id = 000000000000
sso_role_name = Operator

[sso-session company]
sso_region = eu-west-1
sso_start_url = https://company.awsapps.com/start
sso_registration_scopes = sso:account:access
"""
KEYS = "[ops]\naws_access_key_id = a\naws_secret_access_key = s\n"


def run_command(
    command: str, *arguments: str, home: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with AWS profiles in files and no credentials in the environment."""
    (home / "config").write_text(CONFIG)
    (home / "credentials").write_text(KEYS)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AWS_PROFILE": "ops",
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
    }
    return stage_commands.run(command, *arguments, environment=environment | variables)


@pytest.mark.parametrize(
    "command",
    [
        ["admin", "dev", "redrive", "--reason", "fixed"],
        ["deploy", "dev"],
        ["destroy", "dev"],
        ["logs", "dev"],
        ["reconcile", "dev"],
        ["restore", "dev", "2026-11-25T12:00:00Z"],
        ["rotate_signing_keys", "dev"],
        ["status", "dev"],
    ],
    ids=lambda command: command[0],
)
def test_every_stage_command_first_shows_the_account_and_the_region(
    command: list[str], tmp_path: Path
) -> None:
    done = run_command(*command, home=tmp_path)
    assert done.stdout.startswith(SHOWN % "eu-west-1")
    assert done.returncode == 1
    assert re.search(
        r"There is no |does not exist here|samconfig.toml still contains YOUR",
        done.stderr,
    )


SHOWN = "Stage dev: stack geminichat-dev in account 000000000000, region %s\n"


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_DEFAULT_REGION": "eu-north-1"}, "eu-north-1"),
        ({"AWS_REGION": "us-west-2", "AWS_DEFAULT_REGION": "eu-north-1"}, "us-west-2"),
        ({"AWS_PROFILE": "ops-role"}, "eu-west-1"),
        ({"AWS_PROFILE": "ops-role", "AWS_REGION": "us-west-2"}, "us-west-2"),
    ],
    ids=["AWS_DEFAULT_REGION", "AWS_REGION", "role", "role and AWS_REGION"],
)
def test_a_stage_command_uses_the_role_and_the_region_of_the_environment(
    variables: dict[str, str], region: str, tmp_path: Path
) -> None:
    assert run_command("status", "dev", home=tmp_path, **variables).stdout == SHOWN % region


def test_a_stage_command_uses_the_session_of_aws_sso_login(tmp_path: Path) -> None:
    sso = {"AWS_PROFILE": "ops-sso"}
    ended = run_command("status", "dev", home=tmp_path, **sso)
    assert ended.returncode == 1
    assert ended.stderr.startswith("AWS does not accept your credentials (Error loading SSO Token")
    assert "aws sso login" in ended.stderr

    async def credentials(request: web.Request) -> web.Response:
        assert request.headers["x-amz-sso_bearer_token"] == "sso-token"
        keys = {"accessKeyId": "a", "secretAccessKey": "s", "sessionToken": "t"}
        return web.json_response({"roleCredentials": keys | {"expiration": 4_102_444_800_000}})

    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"accessToken": "sso-token", "expiresAt": "2100-01-01T00:00:00Z"}
    name = hashlib.sha1(b"company", usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps(token))

    def portal() -> web.Application:
        app = web.Application()
        app.router.add_get("/federation/credentials", credentials)
        return app

    with run_app(portal) as url:
        done = run_command("status", "dev", home=tmp_path, AWS_ENDPOINT_URL_SSO=url, **sso)
    assert done.stdout == SHOWN % "eu-west-1"


def test_an_unknown_stage_or_a_missing_region_is_an_error_with_a_clear_message(
    tmp_path: Path,
) -> None:
    unknown = run_command("reconcile", "qa", home=tmp_path)
    assert unknown.stderr.startswith("samconfig.toml has no stage 'qa'. It has: dev, prod.")
    nowhere = run_command("reconcile", "dev", home=tmp_path, AWS_CONFIG_FILE=os.devnull)
    assert nowhere.stderr.startswith("No AWS region is set.")
    assert unknown.returncode == nowhere.returncode == 1


def test_make_secrets_uses_the_region_in_aws_region(tmp_path: Path) -> None:
    given = {"UPSTASH_TOKEN": TOKEN, "GEMINI_API_KEY": GIVEN["gemini-api-key"]}
    done = run_command("put_secrets", "dev", home=tmp_path, AWS_REGION="ap-south-1", **given)
    assert done.returncode == 0, done.stderr
    found = boto3.client("ssm", region_name="ap-south-1").get_parameters_by_path(
        Path="/geminichat/dev"
    )
    assert {each["Name"].rpartition("/")[2] for each in found["Parameters"]} >= set(GIVEN)


def test_make_admin_says_that_a_stage_is_not_deployed(tmp_path: Path) -> None:
    done = run_command("admin", "dev", "show", "ann@example.com", home=tmp_path)
    shown = "Stage dev: stack geminichat-dev in account 000000000000, region eu-west-1\n"
    assert (done.returncode, done.stdout) == (1, shown)
    assert done.stderr == "There is no geminichat-dev-admin-show here: dev is not deployed.\n"
    for_programs = run_command("admin", "dev", "show", "--json", "ann@example.com", home=tmp_path)
    assert (for_programs.returncode, for_programs.stderr) == (1, shown + done.stderr)
    assert json.loads(for_programs.stdout) == {
        "type": "urn:geminichat:problem:not-deployed",
        "detail": done.stderr.rstrip(),
    }


@pytest.mark.parametrize(
    ("arguments", "status", "code", "detail"),
    [
        (["dev", "ban", "u_1"], 2, "usage", "arguments are required: --reason"),
        (["dev", "promote", "u_1"], 2, "usage", "invalid choice: 'promote'"),
        (["qa", "show", "u_1"], 1, "failed", "has no stage 'qa'"),
    ],
)
def test_make_admin_with_json_prints_an_error_as_one_json_object(
    arguments: list[str], status: int, code: str, detail: str, tmp_path: Path
) -> None:
    done = run_command("admin", *arguments, "--json", home=tmp_path)
    problem = json.loads(done.stdout)
    assert (done.returncode, problem["type"]) == (status, f"urn:geminichat:problem:{code}")
    assert detail in problem["detail"]
    assert detail in done.stderr


def test_destroy_removes_the_secrets_of_a_stage_that_was_never_deployed(stage: Stage) -> None:
    list(put_secrets.store(boto3.client("ssm"), stage, answer_with(GIVEN)))
    lines = list(destroy.destroy(stage, lambda _: stage.name))
    assert lines[-1] == "3 secrets: deleted"
    assert put_secrets.list_stored(boto3.client("ssm"), stage) == set()
    with pytest.raises(CommandError, match="no secret"):
        list(destroy.destroy(stage, lambda _: stage.name))


STACK = """
Resources:
  LogGroup:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: /geminichat/dev}
Outputs:
  ApiUrl: {Value: "%s"}
"""


@pytest.fixture
def on_aws() -> Iterator[None]:
    """A stack of the stage dev with a log group, and with an API URL that does not answer."""
    stacks = boto3.client("cloudformation", region_name="eu-west-1")
    body = STACK % f"http://127.0.0.1:{free_port()}"
    stacks.create_stack(StackName="geminichat-dev", TemplateBody=body)
    stacks.get_waiter("stack_create_complete").wait(
        StackName="geminichat-dev", WaiterConfig={"Delay": 1}
    )
    yield
    stacks.delete_stack(StackName="geminichat-dev")


@pytest.mark.usefixtures("on_aws")
def test_make_status_shows_the_stack_and_an_api_that_does_not_answer(tmp_path: Path) -> None:
    done = run_command("status", "dev", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Stack    CREATE_COMPLETE" in done.stdout
    assert "Health   no answer" in done.stdout


@pytest.mark.usefixtures("on_aws")
def test_make_logs_shows_the_newest_lines_of_a_stage(tmp_path: Path) -> None:
    logs = boto3.client("logs", region_name="eu-west-1")
    logs.create_log_stream(logGroupName="/geminichat/dev", logStreamName="s")
    now = round(time.time() * 1000)
    messages = ["START RequestId: 1", '{"level": "INFO", "message": "old"}']
    messages.append('{"level": "INFO", "message": "request", "status": 201}')
    logs.put_log_events(
        logGroupName="/geminichat/dev",
        logStreamName="s",
        logEvents=[
            {"timestamp": now + number, "message": message}
            for number, message in enumerate(messages)
        ],
    )
    done = run_command("logs", "dev", "-n", "1", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].endswith("INFO    request status=201")
    unknown = run_command("logs", "dev", "Nonsense", home=tmp_path)
    assert unknown.stderr.startswith("There is no function Nonsense.")
