"""What a pipeline may do: deploy its own stage from its own repository, and nothing beside it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.template import ROOT, load
from tests.support.template import RESOURCES, TEMPLATE, Values, listed, statements_in
from tests.support.translated import translated

PIPELINE: Mapping[str, Any] = load(ROOT / "infra" / "pipeline-role.yaml")["Resources"]
OBSERVABILITY: Mapping[str, Any] = load(ROOT / "infra" / "observability.yaml")["Resources"]
DEPLOYMENT = ["MakeFunctions", "MakeRoles", "MakeTheRest"]
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
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""Actions for which AWS knows no resource but "*"."""

OF_THE_STAGE = ("geminichat-${Stage}", "geminichat/${Stage}")
RANDOM_IDS = ("::/apis", "::/tags/", ":event-source-mapping:*", ":deploymentconfig:CodeDeploy")
"""What has a random id, or is AWS's own: here the service is the limit."""
SAMS = ("stack/aws-sam-cli-managed-default/", "aws:transform/Serverless-")
ELSEWHERE = {"Texts": "sns:Publish", "Mails": "ses:SendEmail"}
"""A function sends to whom it may; the sender is its role's business."""


def granted(*names: str) -> set[str]:
    """Return the actions that these roles or policies allow."""
    return {action for name in names for one in GRANTS[name] for action in listed(one["Action"])}


def test_only_the_repositorys_own_environment_is_let_in() -> None:
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
def test_every_action_is_named(statement: Mapping[str, Any]) -> None:
    assert statement["Effect"] == "Allow"
    assert not [action for action in listed(statement["Action"]) if "*" in action]


@every_statement
def test_a_grant_is_for_what_is_the_stages_own(statement: Mapping[str, Any]) -> None:
    actions = set(listed(statement["Action"]))
    for resource in listed(statement.get("Resource", [])):
        text = json.dumps(resource)
        if resource == "*":
            of_our_functions = "function:geminichat-${Stage}-" in json.dumps(
                statement.get("Condition")
            )
            assert of_our_functions or actions <= WITHOUT_A_NAME
        elif statement["Sid"] not in ELSEWHERE and statement["Sid"] != "HandOver":
            assert any(part in text for part in OF_THE_STAGE + RANDOM_IDS + SAMS), text
    if "Resource" not in statement:
        assert actions == {ELSEWHERE["Texts"]}


def test_a_pipeline_makes_no_role_but_under_the_boundary() -> None:
    makes = {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"}
    bounded = {"StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}}
    for statement in (one for name in ["Pipeline", *DEPLOYMENT] for one in GRANTS[name]):
        found = makes & set(listed(statement["Action"]))
        if not found or statement.get("Condition") == bounded:
            continue
        assert "CodeDeployServiceRole-" in json.dumps(statement["Resource"]), statement["Sid"]
        assert "iam:PutRolePolicy" not in found
        if "iam:AttachRolePolicy" in found:
            assert "AWSCodeDeployRoleForLambda" in json.dumps(statement["Condition"])
    assert "iam:DeleteRolePermissionsBoundary" not in granted("Pipeline", *DEPLOYMENT)


def test_no_role_of_the_pipelines_may_touch_the_pipelines_own() -> None:
    for name in ("Pipeline", "Deployment", "Boundary", *DEPLOYMENT):
        assert PIPELINE[name]["Properties"]["Path"] == "/geminichat-pipeline/"
    changed = [one for name in DEPLOYMENT for one in GRANTS[name] if "iam:" in str(one["Action"])]
    assert changed
    for statement in changed:
        assert "geminichat-pipeline" not in json.dumps(statement["Resource"])


def test_a_pipeline_reads_no_data_and_deletes_none() -> None:
    actions = granted("Pipeline", *DEPLOYMENT)
    reads = {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan", "ssm:GetParameter"}
    assert not actions & (reads | {"dynamodb:DeleteTable", "sqs:ReceiveMessage"})


MAKES = {
    "AWS::ApiGatewayV2::Api": "apigateway:POST",
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
    "AWS::SNS::Subscription": "sns:Subscribe",
    "AWS::SNS::Topic": "sns:CreateTopic",
    "AWS::SNS::TopicPolicy": "sns:SetTopicAttributes",
    "AWS::SQS::Queue": "sqs:CreateQueue",
    "AWS::Scheduler::Schedule": "scheduler:CreateSchedule",
}


def test_it_may_make_every_kind_of_thing_that_the_stack_is_made_of() -> None:
    made = [*translated(GradualDeployment="true").values(), *OBSERVABILITY.values()]
    kinds = {resource["Type"] for resource in made}
    assert kinds == set(MAKES), "pipeline-role.yaml has to allow it, and this table to say how"
    assert set(MAKES.values()) <= granted(*DEPLOYMENT)


NAMES = ["Name", "LayerName", "LogGroupName", "AlarmName", "DashboardName", "BudgetName"]


def test_what_has_a_name_of_its_own_has_the_stages_in_it() -> None:
    """Else two stages of one account would get into each other's way."""
    made = [*RESOURCES.values(), *OBSERVABILITY.values()]
    found = [one["Properties"] for one in made if one["Type"] != "AWS::Serverless::Function"]
    found += [properties["Budget"] for properties in found if "Budget" in properties]
    schedules = translated(GradualDeployment="true").values()
    found += [one["Properties"] for one in schedules if one["Type"] == "AWS::Scheduler::Schedule"]
    named = [each[name] for each in found for name in NAMES if name in each]
    assert len(named) > 15
    for name in named:
        assert name["Fn::Sub"].lstrip("/").startswith(OF_THE_STAGE), name


# ── The boundary ──────────────────────────────────────────────────────────────────────────────────


def test_every_role_that_is_made_under_the_boundary_has_it() -> None:
    roles = {
        name: one["Properties"].get("PermissionsBoundary")
        for name, one in translated(GradualDeployment="true", Bounded="true").items()
        if one["Type"] == "AWS::IAM::Role"
    }
    assert roles.pop("CodeDeployServiceRole") is None
    [boundary] = {json.dumps(found) for found in roles.values()}
    condition, then, _otherwise = json.loads(boundary)["Fn::If"]
    assert condition == "IsBounded"
    name, path = (PIPELINE["Boundary"]["Properties"][n] for n in ("ManagedPolicyName", "Path"))
    assert name == {"Ref": "Stage"}
    assert then["Fn::Sub"].endswith(f":policy{path}${{Stage}}")
    assert TEMPLATE["Parameters"]["Bounded"]["Default"] == "false"


def test_the_boundary_holds_nobody_back() -> None:
    needed = {action for one in statements_in(RESOURCES) for action in listed(one["Action"])}
    by_lambda = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "logs:PutLogEvents"}
    by_lambda |= {"xray:PutTraceSegments", "lambda:InvokeFunction"}
    assert needed | by_lambda <= granted("Boundary")


LONGEST_POLICY = 6144
"""Characters, white space aside: AWS's limit for a managed policy."""


@pytest.mark.parametrize("policy", [*DEPLOYMENT, "Boundary"])
def test_a_policy_is_as_short_as_aws_wants_it(policy: str) -> None:
    refs = {"AWS::Partition": "aws-us-gov", "AWS::Region": "ap-southeast-1"}
    refs |= {"AWS::AccountId": "0" * 12, "Stage": "a" * 16, "Boundary": "arn:" + "b" * 100}
    document = Values(refs, {}).resolve(PIPELINE[policy]["Properties"]["PolicyDocument"])
    assert len(json.dumps(document, separators=(",", ":"))) < LONGEST_POLICY
