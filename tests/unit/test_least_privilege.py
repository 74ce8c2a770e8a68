"""The roles of the translated template: each allows what the template grants, and nothing else."""

import copy
import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from infra.template import load
from tests.support import grants, iam
from tests.support.template import FUNCTIONS, as_list, statements_in
from tests.support.translated import translate, translate_template

STAGE = "dev"
VALUES = iam.resolve_values(STAGE)
TRANSLATED = translate_template(GradualDeployment="true")
REQUESTS = iam.requests(STAGE, "dev2")

every_function = pytest.mark.parametrize("function", FUNCTIONS)


def list_problems(resources: Mapping[str, Any], function: str) -> list[str]:
    """Return a line for each difference between a function's role and its grants."""
    role = iam.roles(resources, VALUES)[f"{function}Role"]
    own, allowed = iam.evaluate(role.own, REQUESTS), role.evaluate(REQUESTS)
    granted = iam.list_grants(function, STAGE) | iam.logs_and_traces(STAGE)
    return [
        *list_unclear(f"{function}Role", resources),
        *(
            f"{function} may also {action} on {arn}"
            for action, arn in sorted((own | allowed) - granted)
        ),
        *(f"{function} may not {action} on {arn}" for action, arn in sorted(granted - allowed)),
    ]


def list_unclear(name: str, resources: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each unclear grant of a role or policy, such as a wildcard."""
    properties = resources[name]["Properties"]
    for arn in properties.get("ManagedPolicyArns", []):
        if isinstance(arn, str) and arn.removeprefix(iam.AWS) not in iam.AWS_POLICIES:
            yield f"{name} attaches {arn}"
    for statement in statements_in(properties.get("Policies") or properties.get("PolicyDocument")):
        if statement in (TEXTS_TO_PHONES, *CONNECTIONS):
            continue
        if not set(statement) <= {"Effect", "Action", "Resource", "Condition"}:
            yield f"{name}: {statement}"
            continue
        named_resources = [
            select_aws(one) for one in as_list(statement["Resource"]) if one != OBJECTS
        ]
        named = [*as_list(statement["Action"]), *named_resources]
        yield from (f"{name}: {text}" for text in map(json.dumps, named) if "*" in text)


TEXTS_TO_PHONES = {
    "Effect": "Allow",
    "Action": "sns:Publish",
    "NotResource": {"Fn::Sub": "arn:${AWS::Partition}:sns:*:*:*"},
}
"""A phone number has no ARN, so the grant excludes everything that has one."""
OBJECTS = {"Fn::Sub": "${ExportsBucket.Arn}/*"}
"""An archive gets its name when it is requested, so grants name the bucket."""
CONNECTIONS = [
    statement
    for policy in ("CloseConnections", "PostToConnections")
    for statement in statements_in(TRANSLATED[policy])
]
"""A connection gets its id when it opens, so these grants name the API and the method only."""


def select_aws(value: Any) -> Any:
    """Return the value that applies on AWS, not on the emulator."""
    match value:
        case {"Fn::If": ["Emulated", _, otherwise]}:
            return otherwise
    return value


@every_function
def test_a_role_allows_exactly_the_grants_of_its_function(function: str) -> None:
    assert list_problems(TRANSLATED, function) == []


def test_every_policy_of_the_template_names_its_actions_and_resources() -> None:
    kinds = {one["Type"] for one in TRANSLATED.values() if one["Type"].startswith("AWS::IAM::")}
    assert kinds == {"AWS::IAM::Role", "AWS::IAM::ManagedPolicy"}
    policies = [
        name for name, one in TRANSLATED.items() if one["Type"] == "AWS::IAM::ManagedPolicy"
    ]
    policies.remove("Boundary")
    assert len(policies) > 5
    assert [line for name in policies for line in list_unclear(name, TRANSLATED)] == []


def test_a_schedules_role_only_invokes_its_function_and_codedeploys_role_only_moves_aliases() -> (
    None
):
    others = iam.roles(TRANSLATED, VALUES)
    for function in FUNCTIONS:
        del others[f"{function}Role"]
    function_arns = iam.resources_of(STAGE)["lambda"]
    aliases = {"lambda:GetAlias", "lambda:UpdateAlias"}
    expected = {(action, arn) for action in aliases for arn in function_arns}
    alarms = f"arn:aws:cloudwatch:{iam.REGION}:{iam.ACCOUNT}:alarm:*"
    more = {"cloudwatch:DescribeAlarms": [alarms], "cloudwatch:DeleteAlarms": [alarms]}
    deploys = others.pop("CodeDeployRole")
    assert deploys.evaluate({**REQUESTS, **more}) == expected | {
        ("cloudwatch:DescribeAlarms", alarms)
    }
    assert len(others) > 3
    for name, role in others.items():
        assert not role.attached
        [statement] = role.own
        assert (name, statement["Action"]) == (name, "lambda:InvokeFunction")
        assert "*" not in json.dumps(statement)
        assert not role.evaluate(REQUESTS)


def test_only_aws_services_may_assume_roles_and_only_the_stages_apis_may_invoke_functions() -> None:
    trusted, invokers = set(), set()
    for one in TRANSLATED.values():
        properties = one["Properties"]
        if one["Type"] == "AWS::IAM::Role":
            [statement] = properties["AssumeRolePolicyDocument"]["Statement"]
            [(kind, names)] = statement["Principal"].items()
            trusted |= {(kind, name) for name in as_list(names)}
        if one["Type"] == "AWS::Lambda::Permission":
            [api] = re.findall(r"\b(?:Live)?Api\b", json.dumps(properties["SourceArn"]))
            invokers.add((properties["Principal"], api))
    services = ("codedeploy", "lambda", "scheduler")
    assert trusted == {("Service", f"{name}.amazonaws.com") for name in services}
    assert invokers == {("apigateway.amazonaws.com", name) for name in ("Api", "LiveApi")}


def test_lambda_polls_the_queue_of_a_function_with_the_functions_grants() -> None:
    assert grants.list_polling()
    assert grants.list_polling() <= grants.list_grants()


# ── Excess grants are found ───────────────────────────────────────────────────────────────────────


@every_function
def test_added_administrator_access_is_found_on_every_function(function: str) -> None:
    name = f"{function}Role"
    role = copy.deepcopy(TRANSLATED[name])
    role["Properties"]["ManagedPolicyArns"].append(f"{iam.AWS}AdministratorAccess")
    found = list_problems({**TRANSLATED, name: role}, function)
    assert f"{name} attaches {iam.AWS}AdministratorAccess" in found
    assert f"{function} may also dynamodb:Scan on {iam.table_arn(STAGE, 'UsersTable')}" in found
    elsewhere = [line for line in found if "orders" in line or "dev2" in line]
    assert elsewhere == [], "the boundary allows only the stage's resources"


TABLE = {"Fn::GetAtt": ["UsersTable", "Arn"]}
EXCESSES: dict[str, Any] = {
    "AuthLogin": "AmazonSQSFullAccess",
    "AuthLogout": {"SQSPollerPolicy": {"QueueName": {"Fn::GetAtt": ["PromptsQueue", "QueueName"]}}},
    "AuthMe": {"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": TABLE}]},
    "AuthRefresh": {
        "Statement": [{"Effect": "Allow", "Action": "dynamodb:Scan", "NotResource": TABLE}]
    },
    "AuthSignup": {"Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": TABLE}]},
    "UserMe": {"Statement": [{"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": "*"}]},
    "LiveOpen": {"Ref": "ReadStripeKey"},
}


@functools.cache
def translate_with_excesses() -> Mapping[str, Any]:
    """Return the translated template with an excess grant for some functions."""
    template = load()
    for function, policy in EXCESSES.items():
        template["Resources"][function]["Properties"].setdefault("Policies", []).append(policy)
    queue = {"Queue": {"Fn::GetAtt": ["TitlesQueue", "Arn"]}}
    template["Resources"]["DocsPage"]["Properties"]["Events"]["Queue"] = {
        "Type": "SQS",
        "Properties": queue,
    }
    return translate(template, {})


@pytest.mark.parametrize("function", [*EXCESSES, "DocsPage"])
def test_an_excess_grant_is_found_in_every_form(function: str) -> None:
    assert list_problems(translate_with_excesses(), function)


def test_an_excess_grant_is_reported_only_for_its_own_function() -> None:
    assert list_problems(translate_with_excesses(), "ChatroomList") == []
