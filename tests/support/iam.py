"""IAM: the translated template's roles, and the decisions that AWS would make for them."""

import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support import grants
from tests.support.template import QUEUES, TABLES, TEMPLATE, Values, as_list, statements_in
from tests.support.translated import translate_template

type Statement = Mapping[str, Any]
type Resources = Mapping[str, Any]

REGION = "us-east-1"
ACCOUNT = "111111111111"
PHONE = "+14155552671"
"""The resource of a text message: a phone number, which has no ARN."""
SENDER = "no-reply@chat.example"

ARNS = {
    "AWS::ApiGatewayV2::Api": "apigateway:{region}::/apis/{id}",
    "AWS::ApiGatewayV2::Authorizer": "apigateway:{region}::/apis/{stage}/authorizers/{id}",
    "AWS::ApiGatewayV2::Integration": "apigateway:{region}::/apis/{stage}/integrations/{id}",
    "AWS::ApiGatewayV2::Route": "apigateway:{region}::/apis/{stage}/routes/{id}",
    "AWS::ApiGatewayV2::Stage": "apigateway:{region}::/apis/{stage}/stages/{id}",
    "AWS::Budgets::Budget": "budgets::{account}:budget/geminichat-{stage}",
    "AWS::CloudFormation::Stack": "cloudformation:{region}:{account}:stack/{name}/1",
    "AWS::CloudWatch::Alarm": "cloudwatch:{region}:{account}:alarm:geminichat-{stage}-{id}",
    "AWS::CloudWatch::Dashboard": "cloudwatch::{account}:dashboard/geminichat-{stage}",
    "AWS::CodeDeploy::Application": "codedeploy:{region}:{account}:application:{name}",
    "AWS::CodeDeploy::DeploymentGroup": "codedeploy:{region}:{account}:deploymentgroup:{name}/1",
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::IAM::ManagedPolicy": "iam::{account}:policy/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::Lambda::Alias": "lambda:{region}:{account}:function:{name}:live",
    "AWS::Lambda::EventSourceMapping": "lambda:{region}:{account}:event-source-mapping:{id}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Lambda::LayerVersion": "lambda:{region}:{account}:layer:geminichat-{stage}-{id}:1",
    "AWS::Lambda::Permission": "lambda:{region}:{account}:function:{name}",
    "AWS::Lambda::Version": "lambda:{region}:{account}:function:{name}:1",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:/geminichat/{stage}:*",
    "AWS::S3::Bucket": "s3:::geminichat-{stage}-{id}-1",
    "AWS::S3::BucketPolicy": "s3:::geminichat-{stage}-{id}-1",
    "AWS::SNS::Subscription": "sns:{region}:{account}:{name}:1",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SNS::TopicPolicy": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::Scheduler::Schedule": "scheduler:{region}:{account}:schedule/default/"
    "geminichat-{stage}-{id}",
}
"""The ARNs that AWS gives to resources of these types, without "arn:aws:"."""


def arn_of(kind: str, logical_id: str, stage: str) -> str:
    """Return the ARN of a stage's resource."""
    name = f"geminichat-{stage}-{logical_id}-A1B2"
    bucket = logical_id.lower() if kind.startswith("AWS::S3::") else logical_id
    return "arn:aws:" + ARNS[kind].format(
        region=REGION, account=ACCOUNT, stage=stage, id=bucket, name=name
    )


@functools.cache
def resolve_values(stage: str) -> Values:
    """Return the value of every reference in this stage's translated template."""
    refs = {name: spec.get("Default", "x") for name, spec in TEMPLATE["Parameters"].items()}
    refs |= {
        "AWS::Partition": "aws",
        "AWS::Region": REGION,
        "AWS::AccountId": ACCOUNT,
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::StackName": f"geminichat-{stage}",
        "Stage": stage,
        "MailFrom": SENDER,
    }
    attributes: dict[str, str] = {}
    for name, resource in translate_template(GradualDeployment="true").items():
        arn = arn_of(resource["Type"], name, stage)
        refs[name] = arn if resource["Type"] == "AWS::IAM::ManagedPolicy" else name + stage
        attributes |= {f"{name}.Arn": arn, f"{name}.QueueName": arn.rpartition(":")[2]}
    return Values(refs, attributes)


# ── Decisions ─────────────────────────────────────────────────────────────────────────────────────


type Requests = Mapping[str, Sequence[str]]
"""The resources on which each action is called, by action."""


def evaluate(
    statements: Iterable[Statement], requests: Requests, context: Mapping[str, str] | None = None
) -> set[tuple[str, str]]:
    """Return the actions and resources that statements allow; a Deny overrides every Allow."""
    found = set()
    given = {"aws:ResourceAccount": ACCOUNT, **(context or {})}
    for action, resources in requests.items():
        about = [each for each in statements if _matches(each, "Action", action)]
        for resource in resources if about else []:
            effects = {one["Effect"] for one in about if _applies(one, resource, given)}
            if effects == {"Allow"}:
                found.add((action, resource))
    return found


def _applies(statement: Statement, resource: str, context: Mapping[str, str]) -> bool:
    return _matches(statement, "Resource", resource) and all(
        _is_met(operator, context.get(key), as_list(values))
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )


def _matches(statement: Statement, element: str, text: str) -> bool:
    patterns = as_list(statement[f"Not{element}" if f"Not{element}" in statement else element])
    return any(_pattern(one).fullmatch(text) for one in patterns) == (element in statement)


def _is_met(operator: str, value: str | None, expected: Sequence[str]) -> bool:
    if value is None:
        return operator.endswith("IfExists")
    match operator.removesuffix("IfExists"):
        case "StringEquals":
            return value in expected
        case "ArnEquals" | "ArnLike":
            return any(_pattern(one).fullmatch(value) for one in expected)
    raise ValueError(f"unknown condition operator: {operator}")


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."))


# ── Roles ─────────────────────────────────────────────────────────────────────────────────────────

AWS = "arn:aws:iam::aws:policy/"
EVERYTHING = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
AWS_POLICIES = {
    "service-role/AWSLambdaBasicExecutionRole": [
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    ],
    "AWSXrayWriteOnlyAccess": [
        "xray:GetSamplingRules",
        "xray:GetSamplingStatisticSummaries",
        "xray:GetSamplingTargets",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    ],
}
"""The policies that SAM attaches to every function's role: actions, allowed on every resource."""


@dataclass(frozen=True)
class Role:
    """A role of the stack: statements of our policies, of AWS's policies, and of the boundary."""

    own: Sequence[Statement]
    attached: Sequence[Statement]
    boundary: Sequence[Statement]

    def evaluate(self, requests: Requests) -> set[tuple[str, str]]:
        """Return the actions and resources that both the policies and the boundary allow."""
        return evaluate([*self.own, *self.attached], requests) & evaluate(self.boundary, requests)


def roles(resources: Resources, values: Values) -> dict[str, Role]:
    """Return a translated template's roles; an unknown AWS policy allows everything."""
    policies = {
        values.refs[name]: list(statements_in(values.resolve(one["Properties"])))
        for name, one in resources.items()
        if one["Type"] == "AWS::IAM::ManagedPolicy"
    }
    policies |= {
        f"{AWS}{name}": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]
        for name, actions in AWS_POLICIES.items()
    }
    found = {}
    for name, one in resources.items():
        if one["Type"] == "AWS::IAM::Role":
            role = values.resolve(one["Properties"])
            arns = role.get("ManagedPolicyArns", [])
            ours = [policies[arn] for arn in arns if not arn.startswith(AWS)]
            attached = [policies.get(arn, EVERYTHING) for arn in arns if arn.startswith(AWS)]
            found[name] = Role(
                [*itertools.chain(*ours), *statements_in(role.get("Policies", []))],
                [*itertools.chain(*attached)],
                policies[role["PermissionsBoundary"]],
            )
    return found


# ── Actions and resources ─────────────────────────────────────────────────────────────────────────

ACTIONS = {
    "dynamodb": "BatchGetItem BatchWriteItem ConditionCheckItem CreateTable DeleteItem DeleteTable "
    "DescribeTable ExportTableToPointInTime GetItem PartiQLSelect PutItem Query Scan UpdateItem "
    "UpdateTable UpdateTimeToLive",
    "sqs": "ChangeMessageVisibility ChangeMessageVisibilityBatch DeleteMessage DeleteQueue "
    "GetQueueAttributes PurgeQueue ReceiveMessage SendMessage SetQueueAttributes",
    "ssm": "DeleteParameter GetParameter GetParameterHistory GetParameters GetParametersByPath "
    "PutParameter",
    "sns": "Publish Subscribe",
    "ses": "SendEmail SendRawEmail",
    "execute-api": "Invoke ManageConnections",
    "logs": "CreateLogGroup CreateLogStream DeleteLogGroup FilterLogEvents GetLogEvents "
    "PutLogEvents",
    "xray": "GetSamplingRules GetTraceSummaries PutTelemetryRecords PutTraceSegments",
    "lambda": "GetAlias GetFunction InvokeFunction UpdateAlias UpdateFunctionCode",
    "cloudwatch": "DescribeAlarms PutMetricData",
    "kms": "Decrypt",
    "s3": "AbortMultipartUpload DeleteBucket DeleteObject GetObject ListBucket PutBucketPolicy "
    "PutObject",
    "iam": "AttachRolePolicy CreateRole PassRole",
    "sts": "AssumeRole",
}
"""Actions of the services that functions use, and others that would do harm."""

INDEXES = [
    (table, index["IndexName"])
    for table, properties in TABLES.items()
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
    for index in properties.get(kind, [])
]


def resources_of(stage: str) -> dict[str, list[str]]:
    """Return a stage's resources that functions could call, for each service."""
    values = resolve_values(stage)

    def all_of(kind: str) -> list[str]:
        made = translate_template(GradualDeployment="true").items()
        return [values.attributes[f"{name}.Arn"] for name, one in made if one["Type"] == kind]

    tables = [table_arn(stage, name) for name in TABLES]
    tables += [f"{table_arn(stage, table)}/index/{index}" for table, index in INDEXES]
    buckets = all_of("AWS::S3::Bucket")
    return {
        "dynamodb": tables,
        "sqs": [values.attributes[f"{queue}.Arn"] for queue in QUEUES],
        "ssm": [secret_arn(stage, name) for name in SECRETS],
        "sns": [PHONE, arn_of("AWS::SNS::Topic", "Alarms", stage)],
        "ses": mail_arns(SENDER),
        "execute-api": [connection_arn(stage, method) for method in ("DELETE", "GET", "POST")],
        "logs": [log_stream_arn(f"/geminichat/{stage}")],
        "xray": ["*"],
        "lambda": all_of("AWS::Lambda::Function"),
        "cloudwatch": ["*"],
        "kms": [f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{stage}"],
        "s3": [*buckets, *(f"{bucket}/object" for bucket in buckets)],
        "iam": all_of("AWS::IAM::Role"),
        "sts": all_of("AWS::IAM::Role"),
    }


FOREIGN: dict[str, list[str]] = {
    "dynamodb": [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders"],
    "sqs": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders"],
    "ssm": [f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/orders/key"],
    "sns": [f"arn:aws:sns:{REGION}:{ACCOUNT}:orders"],
    "ses": [],
    "execute-api": [f"arn:aws:execute-api:{REGION}:{ACCOUNT}:orders/live/POST/@connections/1"],
    "logs": [f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/orders:log-stream:1"],
    "xray": [],
    "cloudwatch": [],
    "kms": [],
    "lambda": [f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders"],
    "s3": ["arn:aws:s3:::orders", "arn:aws:s3:::orders/1"],
    "iam": [f"arn:aws:iam::{ACCOUNT}:role/admin"],
    "sts": [f"arn:aws:iam::{ACCOUNT}:role/admin"],
}
"""Resources of the same account that belong to another system."""


def requests(stage: str, other: str) -> Requests:
    """Return, for each action, resources of two stages and of another system."""
    own, others = resources_of(stage), resources_of(other)
    return {
        f"{service}:{name}": [*dict.fromkeys(own[service] + others[service] + FOREIGN[service])]
        for service, names in ACTIONS.items()
        for name in names.split()
    }


def table_arn(stage: str, table: str) -> str:
    """Return the ARN of a stage's table."""
    return arn_of("AWS::DynamoDB::Table", table, stage)


def secret_arn(stage: str, secret: str) -> str:
    """Return the ARN of a stage's secret."""
    return f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/geminichat/{stage}/{secret}"


def mail_arns(address: str) -> list[str]:
    """Return the ARNs of an email address and of its domain in SES."""
    names = [address, address.partition("@")[2]]
    return [f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/{name}" for name in names]


def connection_arn(stage: str, method: str) -> str:
    """Return the ARN of a method on a connection of a stage's WebSocket API."""
    api = resolve_values(stage).refs["LiveApi"]
    return f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/live/{method}/@connections/1"


def log_stream_arn(group: str) -> str:
    """Return the ARN of a stream in a log group."""
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:1"


SECRETS = sorted({use.resource for use in grants.list_grants() if use.action == grants.SECRET})


def logs_and_traces(stage: str) -> set[tuple[str, str]]:
    """Return the actions and resources that AWS's policies allow every function."""
    return {
        ("logs:CreateLogStream", log_stream_arn(f"/geminichat/{stage}")),
        ("logs:PutLogEvents", log_stream_arn(f"/geminichat/{stage}")),
        ("xray:PutTelemetryRecords", "*"),
        ("xray:PutTraceSegments", "*"),
    }


def list_grants(function: str, stage: str) -> set[tuple[str, str]]:
    """Return the actions and the resource ARNs that the template grants to a function."""
    return {
        (use.action, arn)
        for use in grants.list_grants()
        if use.function == function
        for arn in _arns(use, stage)
    }


def _arns(use: grants.Use, stage: str) -> list[str]:
    table, _, index = use.resource.partition("/")  # or a bucket, and "*"
    match use.action.partition(":")[0]:
        case "dynamodb":
            return [table_arn(stage, table) + (f"/{index}" if index else "")]
        case "ssm":
            return [secret_arn(stage, use.resource)]
        case "sns":
            return [PHONE]
        case "ses":
            return mail_arns(SENDER)
        case "execute-api":
            return [connection_arn(stage, use.resource)]
        case "s3":
            bucket = resolve_values(stage).attributes[f"{table}.Arn"]
            return [f"{bucket}/object" if index else bucket]
    return [resolve_values(stage).attributes[f"{use.resource}.Arn"]]
