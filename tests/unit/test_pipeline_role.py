"""The pipeline may deploy its own stage from its own repository, and nothing else."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from infra.template import ROOT, load
from tests.support import iam
from tests.support.template import RESOURCES, TEMPLATE, Values, as_list, statements_in
from tests.support.translated import translate_template

PIPELINE_TEMPLATE = load(ROOT / "infra" / "pipeline-role.yaml")
PIPELINE: Mapping[str, Any] = PIPELINE_TEMPLATE["Resources"]
OBSERVABILITY: Mapping[str, Any] = load(ROOT / "infra" / "observability.yaml")["Resources"]
DEPLOYMENT = ["ManageFunctions", "ManageRoles", "ManageOtherResources"]
GRANTS = {
    name: list(statements_in(PIPELINE[name]["Properties"]))
    for name in ["Pipeline", *DEPLOYMENT, "Boundary"]
}
ALL = [(name, one) for name, some in GRANTS.items() for one in some if "Sid" in one]

every_statement = pytest.mark.parametrize(
    "statement", [one for _, one in ALL], ids=[f"{name}-{one['Sid']}" for name, one in ALL]
)

WITHOUT_A_NAME = {
    "ssm:DescribeParameters",
    "logs:DescribeLogGroups",
    "sns:GetSubscriptionAttributes",
    "sns:Unsubscribe",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""Actions that AWS allows only on the resource "*"."""

OF_THE_STAGE = ("geminichat-${Stage}", "geminichat/${Stage}")
RANDOM_IDS = (
    "::/apis",
    "::/tags/",
    ":event-source-mapping:*",
    ":deploymentconfig:CodeDeploy",
    "/@connections/*",
    ":key/*",
    ":alarm:*",
)
"""Resources with a random id, or AWS's own; a grant can only be limited to their service."""
SAMS = ("stack/aws-sam-cli-managed-default/", "aws:transform/Serverless-")
ELSEWHERE = {"Texts": "sns:Publish", "Mails": "ses:SendEmail"}
"""Texts and emails have no resource of the stage; each function's role limits the sender."""


def actions_of(*names: str) -> set[str]:
    """Return the actions that these roles or policies allow."""
    return {action for name in names for one in GRANTS[name] for action in as_list(one["Action"])}


def test_the_pipelines_role_trusts_only_its_repository_and_environment() -> None:
    [trust] = PIPELINE["Pipeline"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {
                "Fn::Sub": "repo:${Repository}:environment:${Stage}"
            },
        }
    }


@every_statement
def test_a_statement_of_the_pipeline_names_its_actions_without_a_wildcard(
    statement: Mapping[str, Any],
) -> None:
    assert statement["Effect"] == ("Deny" if statement["Sid"] == "AuditItemsStay" else "Allow")
    assert not [action for action in as_list(statement["Action"]) if "*" in action]


@every_statement
def test_a_statement_of_the_pipeline_covers_only_resources_of_its_stage(
    statement: Mapping[str, Any],
) -> None:
    actions = set(as_list(statement["Action"]))
    for resource in as_list(statement.get("Resource", [])):
        text = json.dumps(resource)
        if resource == "*":
            of_our_functions = "function:geminichat-${Stage}-" in json.dumps(
                statement.get("Condition")
            )
            assert of_our_functions or actions <= WITHOUT_A_NAME
        elif statement["Sid"] not in ELSEWHERE and statement["Sid"] != "PassDeployment":
            assert any(part in text for part in OF_THE_STAGE + RANDOM_IDS + SAMS), text
    if "Resource" not in statement:
        assert actions == {ELSEWHERE["Texts"]}


def test_a_pipeline_creates_roles_only_under_the_boundary() -> None:
    makes = {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"}
    bounded = {"StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}}
    for statement in (one for name in ["Pipeline", *DEPLOYMENT] for one in GRANTS[name]):
        found = makes & set(as_list(statement["Action"]))
        assert not found or statement["Condition"] == bounded, statement["Sid"]
    assert "iam:DeleteRolePermissionsBoundary" not in actions_of("Pipeline", *DEPLOYMENT)


def test_no_role_of_the_pipeline_may_change_the_pipeline() -> None:
    for name in ("Pipeline", "Deployment", "Boundary", *DEPLOYMENT):
        assert PIPELINE[name]["Properties"]["Path"] == "/geminichat-pipeline/"
    changed = [one for name in DEPLOYMENT for one in GRANTS[name] if "iam:" in str(one["Action"])]
    assert changed
    for statement in changed:
        assert "geminichat-pipeline" not in json.dumps(statement["Resource"])


def test_a_pipeline_reads_no_data_and_deletes_no_table() -> None:
    actions = actions_of("Pipeline", *DEPLOYMENT)
    reads = {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "ssm:GetParameter"}
    assert not actions & (reads | {"dynamodb:DeleteTable", "sqs:ReceiveMessage"})


MAKES = {
    "AWS::ApiGatewayV2::Api": "apigateway:POST",
    "AWS::ApiGatewayV2::Authorizer": "apigateway:POST",
    "AWS::ApiGatewayV2::Integration": "apigateway:POST",
    "AWS::ApiGatewayV2::Route": "apigateway:POST",
    "AWS::ApiGatewayV2::Stage": "apigateway:POST",
    "AWS::Budgets::Budget": "budgets:ModifyBudget",
    "AWS::CloudFormation::Stack": "cloudformation:CreateStack",
    "AWS::CloudWatch::Alarm": "cloudwatch:PutMetricAlarm",
    "AWS::CloudWatch::Dashboard": "cloudwatch:PutDashboard",
    "AWS::CodeDeploy::Application": "codedeploy:CreateApplication",
    "AWS::CodeDeploy::DeploymentGroup": "codedeploy:CreateDeploymentGroup",
    "AWS::DynamoDB::Table": "dynamodb:CreateTable",
    "AWS::IAM::ManagedPolicy": "iam:CreatePolicy",
    "AWS::IAM::Role": "iam:CreateRole",
    "AWS::Lambda::Alias": "lambda:CreateAlias",
    "AWS::Lambda::EventSourceMapping": "lambda:CreateEventSourceMapping",
    "AWS::Lambda::Function": "lambda:CreateFunction",
    "AWS::Lambda::LayerVersion": "lambda:PublishLayerVersion",
    "AWS::Lambda::Permission": "lambda:AddPermission",
    "AWS::Lambda::Version": "lambda:PublishVersion",
    "AWS::Logs::LogGroup": "logs:CreateLogGroup",
    "AWS::S3::Bucket": "s3:CreateBucket",
    "AWS::S3::BucketPolicy": "s3:PutBucketPolicy",
    "AWS::SNS::Subscription": "sns:Subscribe",
    "AWS::SNS::Topic": "sns:CreateTopic",
    "AWS::SNS::TopicPolicy": "sns:SetTopicAttributes",
    "AWS::SQS::Queue": "sqs:CreateQueue",
    "AWS::Scheduler::Schedule": "scheduler:CreateSchedule",
}


def test_a_pipeline_may_create_every_type_of_resource_in_the_stack() -> None:
    made = [*translate_template(GradualDeployment="true").values(), *OBSERVABILITY.values()]
    kinds = {resource["Type"] for resource in made}
    assert kinds == set(MAKES), "allow it in pipeline-role.yaml and add its action here"
    assert set(MAKES.values()) <= actions_of(*DEPLOYMENT)


# ── Another stage of the account ──────────────────────────────────────────────────────────────────

BOUNDARY = f"arn:aws:iam::{iam.ACCOUNT}:policy/geminichat-pipeline/"


def statements_of(stage: str) -> list[iam.Statement]:
    """Return the statements of the pipeline's two roles, deployed for a stage."""
    values = Values(
        {
            "AWS::Partition": "aws",
            "AWS::Region": iam.REGION,
            "AWS::AccountId": iam.ACCOUNT,
            "Stage": stage,
            "Boundary": BOUNDARY + stage,
        },
        {"Deployment.Arn": f"arn:aws:iam::{iam.ACCOUNT}:role/geminichat-pipeline/Deployment"},
    )
    found = [one for name in ("Pipeline", *DEPLOYMENT) for one in GRANTS[name] if "Sid" in one]
    resolved: list[iam.Statement] = values.resolve(found)
    return resolved


def resources_of(stage: str) -> dict[str, str]:
    """Return a dict from each resource type to the ARN of one such resource of the stage."""
    made = {**OBSERVABILITY, **translate_template(GradualDeployment="true")}
    return {one["Type"]: iam.arn_of(one["Type"], name, stage) for name, one in made.items()}


def list_allowed(stage: str, other: str) -> set[tuple[str, str]]:
    """Return each action that a pipeline may perform on another stage, with the resource type."""
    context = {
        "iam:PermissionsBoundary": BOUNDARY + stage,
        "iam:PassedToService": "lambda.amazonaws.com",
        "lambda:FunctionArn": iam.arn_of("AWS::Lambda::Function", "GeminiWorker", other),
    }
    kinds = {arn: kind for kind, arn in resources_of(other).items()}
    requests = {
        action: [arn for arn in kinds if arn.split(":")[2] == action.partition(":")[0]]
        for action in actions_of("Pipeline", *DEPLOYMENT) - WITHOUT_A_NAME
    }
    found = iam.evaluate(statements_of(stage), requests, context)
    return {(action, kinds[arn]) for action, arn in found}


def test_a_pipeline_may_create_each_resource_of_its_own_stage() -> None:
    assert {(action, kind) for kind, action in MAKES.items()} <= list_allowed("dev", "dev")


@pytest.mark.parametrize(("stage", "other"), [("dev", "prod"), ("dev", "dev2"), ("dev2", "dev")])
def test_in_another_stage_a_pipeline_may_change_only_apis_and_tags_of_mappings(
    stage: str, other: str
) -> None:
    """APIs and mappings have random ids and no inherited tags: use one account per pipeline."""
    found = {kind for action, kind in list_allowed(stage, other) if "tag" not in action.lower()}
    assert found == {kind for kind in MAKES if kind.startswith("AWS::ApiGatewayV2::")}
    tagged = {kind for action, kind in list_allowed(stage, other) if "tag" in action.lower()}
    assert tagged == {"AWS::Lambda::EventSourceMapping"}
    assert PIPELINE["Pipeline"]["Properties"]["RoleName"] == "geminichat-pipeline", (
        "a second pipeline in the account fails, because the name exists"
    )


def test_a_stages_name_has_no_hyphen() -> None:
    """With a hyphen, resource names of one stage could begin like the names of another stage."""
    [pattern] = {
        made["Parameters"]["Stage"]["AllowedPattern"] for made in (TEMPLATE, PIPELINE_TEMPLATE)
    }
    assert re.fullmatch(pattern, "dev2")
    assert not re.fullmatch(pattern, "dev-2")


NAMES = ["Name", "LayerName", "LogGroupName", "AlarmName", "DashboardName", "BudgetName"]


def test_a_resource_with_a_fixed_name_has_the_stage_in_it() -> None:
    """Two stages of one account would conflict over the same name."""
    made = [*RESOURCES.values(), *OBSERVABILITY.values()]
    found = [one["Properties"] for one in made if one["Type"] != "AWS::Serverless::Function"]
    found += [properties["Budget"] for properties in found if "Budget" in properties]
    schedules = translate_template(GradualDeployment="true").values()
    found += [one["Properties"] for one in schedules if one["Type"] == "AWS::Scheduler::Schedule"]
    named = [each[name] for each in found for name in NAMES if name in each]
    assert len(named) > 15
    for name in named:
        assert name["Fn::Sub"].lstrip("/").startswith(OF_THE_STAGE), name


# ── The boundary ──────────────────────────────────────────────────────────────────────────────────


def test_every_role_of_the_stack_has_the_boundary() -> None:
    roles = {
        name: one["Properties"].get("PermissionsBoundary")
        for name, one in translate_template(GradualDeployment="true").items()
        if one["Type"] == "AWS::IAM::Role"
    }
    assert "CodeDeployRole" in roles
    [boundary] = {json.dumps(found) for found in roles.values()}
    condition, then, otherwise = json.loads(boundary)["Fn::If"]
    assert condition == "IsBounded"
    assert otherwise == {"Ref": "Boundary"}
    name, path = (PIPELINE["Boundary"]["Properties"][n] for n in ("ManagedPolicyName", "Path"))
    assert name == {"Ref": "Stage"}
    assert then["Fn::Sub"].endswith(f":policy{path}${{Stage}}")
    assert TEMPLATE["Parameters"]["Bounded"]["Default"] == "false"


def test_the_stack_and_its_pipeline_have_the_same_boundary() -> None:
    """tests/unit/test_least_privilege.py checks the boundary in the stack."""
    inside, outside = (
        {one["Sid"]: dict(one) for one in statements_in(made["Boundary"]["Properties"])}
        for made in (RESOURCES, PIPELINE)
    )
    condition, _everything, on_aws = inside["Mails"]["Resource"]["Fn::If"]
    assert condition == "Emulated"
    inside["Mails"]["Resource"] = on_aws
    inside["Queues"]["Action"] = [
        action for action in inside["Queues"]["Action"] if not action.endswith("Batch")
    ]
    of_its_api = inside["Connections"]["Resource"]["Fn::Sub"]
    inside["Connections"]["Resource"] = {"Fn::Sub": of_its_api.replace("${LiveApi}", "*")}
    assert inside == outside


LONGEST_POLICY = 6144
"""Characters, white space aside: AWS's limit for a managed policy."""


@pytest.mark.parametrize("policy", [*DEPLOYMENT, "Boundary"])
def test_a_policy_of_the_pipeline_is_short_enough_for_aws(policy: str) -> None:
    refs = {"AWS::Partition": "aws-us-gov", "AWS::Region": "ap-southeast-1"}
    refs |= {
        "AWS::URLSuffix": "amazonaws.com.cn",
        "AWS::AccountId": "0" * 12,
        "Stage": "a" * 16,
        "Boundary": "arn:" + "b" * 100,
    }
    document = Values(refs, {}).resolve(PIPELINE[policy]["Properties"]["PolicyDocument"])
    assert len(json.dumps(document, separators=(",", ":"))) < LONGEST_POLICY
