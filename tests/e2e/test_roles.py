"""The rights of each function's role, tested with the role's credentials on the emulated AWS."""

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from infra.local.cloud import deploy
from tests.support import grants
from tests.support.deployed import RunningStack
from tests.support.grants import ANY, CONNECTIONS, SECRET
from tests.support.iam import INDEXES, SECRETS
from tests.support.template import BUCKETS, FUNCTIONS, QUEUES, TABLES

FOREIGN = "orders"
"""The name of the resources of another system in the same AWS account."""
LOGS = "LogGroup"

ON_TABLES = [
    "BatchGetItem",
    "BatchWriteItem",
    "ConditionCheckItem",
    "DeleteItem",
    "DescribeTable",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "UpdateItem",
    "UpdateTable",
]
ON_QUEUES = [
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "DeleteMessage",
    "GetQueueAttributes",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
    "SetQueueAttributes",
]

OF_EVERY_FUNCTION = {("logs:CreateLogStream", LOGS), ("logs:PutLogEvents", LOGS)}


def list_requests() -> Iterator[tuple[str, str]]:
    """Yield every action on every resource of the stage, and on a resource of another system."""
    for table in (*TABLES, FOREIGN):
        yield from ((f"dynamodb:{action}", table) for action in ON_TABLES)
    for table, index in INDEXES:
        yield from (
            (f"dynamodb:{action}", f"{table}/index/{index}") for action in ("Query", "Scan")
        )
    for queue in (*QUEUES, FOREIGN):
        yield from ((f"sqs:{action}", queue) for action in ON_QUEUES)
    for secret in (*SECRETS, FOREIGN):
        yield from ((action, secret) for action in (SECRET, "ssm:PutParameter"))
    for group in (LOGS, FOREIGN):
        for action in ("CreateLogGroup", "CreateLogStream", "PutLogEvents", "FilterLogEvents"):
            yield f"logs:{action}", group
    yield from ((CONNECTIONS, method) for method in ("DELETE", "GET", "POST"))
    yield from (("sns:Publish", ANY), ("sns:Publish", FOREIGN), ("ses:SendEmail", ANY))
    for bucket in (*BUCKETS, FOREIGN):
        yield "s3:ListBucket", bucket
        for action in ("AbortMultipartUpload", "DeleteObject", "GetObject", "PutObject"):
            yield f"s3:{action}", FOREIGN if bucket == FOREIGN else f"{bucket}/*"
    yield from (("lambda:InvokeFunction", "DocsPage"), ("lambda:UpdateFunctionCode", "DocsPage"))
    yield from (("cloudwatch:PutMetricData", ANY), ("iam:CreateRole", FOREIGN))


REQUESTS = list(list_requests())


def list_grants(function: str) -> set[tuple[str, str]]:
    """Return the actions and resources that the template grants to a function."""
    own = {(use.action, use.resource) for use in grants.list_grants() if use.function == function}
    return own | OF_EVERY_FUNCTION


def select_requests(function: str) -> list[tuple[str, str]]:
    """Return the function's grants, and a sample of the requests that its role must deny.

    The sample has each granted action on two other resources: one of the stage, and one of another
    system. It also has one further action of each service.
    """
    own = list_grants(function)
    without: dict[tuple[str, bool], tuple[str, str]] = {}
    for request in REQUESTS:
        if request not in own:
            without.setdefault((request[0], request[1] == FOREIGN), request)
    used = {action for action, _ in own}
    services = dict.fromkeys(action.partition(":")[0] for action, _ in REQUESTS)
    refused = [
        request
        for (action, _), request in without.items()
        if action in used or services.pop(action.partition(":")[0], 1) is None
    ]
    return sorted(own) + refused


class RoleCaller:
    """Calls AWS with a role's credentials, with too few parameters to change anything."""

    def __init__(self, stack: RunningStack) -> None:
        """Prepare calls on the stack; `assume` chooses the role."""
        self.stack = stack
        self._made = deploy.Cloud(stack.description.aws).list_resources()
        self._credentials = Credentials("", "")
        self._session = botocore.session.Session()
        self._session.register_component("credential_provider", self)
        self._clients: dict[str, Any] = {}

    def load_credentials(self) -> Credentials:
        """Return the credentials of the current role, which all clients share."""
        return self._credentials

    def assume(self, function: str) -> "RoleCaller":
        """Use the role of a function for the next calls."""
        name = self._made["AWS::IAM::Role"][f"{function}Role"]
        role = self.stack.aws("iam").get_role(RoleName=name)["Role"]["Arn"]
        given = self.stack.aws("sts").assume_role(RoleArn=role, RoleSessionName="test")
        keys = given["Credentials"]
        self._credentials.access_key = keys["AccessKeyId"]
        self._credentials.secret_key = keys["SecretAccessKey"]
        self._credentials.token = keys["SessionToken"]
        return self

    def client(self, service: str) -> Any:
        """Return a client that does not validate parameters, so that it sends incomplete calls."""
        if service not in self._clients:
            aws = self.stack.description.aws
            url = aws.endpoint_url
            if service == "apigatewaymanagementapi":
                url += f"/_aws/execute-api/{self.stack.description.live_api_id}/live"
            self._clients[service] = self._session.create_client(
                service,
                endpoint_url=url,
                region_name=aws.region,
                config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def can_call(self, action: str, resource: str) -> bool:
        """Return whether the role may call an action on a resource."""
        try:
            self.call(action, resource)
        except ClientError as error:
            return not is_denial(error)
        return True

    def call(self, action: str, resource: str) -> None:
        """Call an action on a resource, without the action's other required parameters."""
        service, _, name = action.partition(":")
        described = self.stack.description
        match service:
            case "dynamodb":
                table, _, index = resource.partition("/index/")
                self._of_table(name, described.tables.get(table, table), index)
            case "sqs":
                queue = described.queues.get(resource)
                url = (
                    queue.url if queue else f"{described.aws.endpoint_url}/000000000000/{resource}"
                )
                hidden = {"VisibilityTimeout": 0} if name == "ReceiveMessage" else {}
                self._send("sqs", name, QueueUrl=url, **hidden)
            case "ssm":
                prefix = "" if resource == FOREIGN else f"/geminichat/{described.stage}/"
                self._send("ssm", name, Name=prefix + resource)
            case "logs":
                group = described.log_groups.get(resource, f"/aws/lambda/{resource}")
                self._send("logs", name, logGroupName=group)
            case "execute-api":
                call = {"POST": "PostToConnection", "GET": "GetConnection"}.get(
                    resource, "DeleteConnection"
                )
                data = {"Data": b""} if resource == "POST" else {}
                self._send("apigatewaymanagementapi", call, ConnectionId="none", **data)
            case "sns" if resource == ANY:
                self._send("sns", name, PhoneNumber="+14155552671")
            case "sns":
                self._send("sns", name, TopicArn=f"arn:aws:sns:us-east-1:000000000000:{resource}")
            case "ses":
                self._send("sesv2", name, FromEmailAddress="no-reply@geminichat.example")
            case "s3":
                bucket = self._made["AWS::S3::Bucket"].get(resource.partition("/")[0], resource)
                match name:
                    case "ListBucket":
                        self._send("s3", "ListObjectsV2", Bucket=bucket)
                    case "AbortMultipartUpload":
                        self._send("s3", name, Bucket=bucket, Key="1", UploadId="1")
                    case _:
                        self._send("s3", name, Bucket=bucket, Key="1")
            case "lambda":
                call = name.removesuffix("Function")
                call = call if call == "Invoke" else name
                self._send("lambda", call, FunctionName=described.functions[resource])
            case "cloudwatch":
                self._send("cloudwatch", name, Namespace="n")
            case "iam":
                self._send("iam", name, RoleName=resource)

    def _of_table(self, name: str, table: str, index: str) -> None:
        match name:
            case "BatchGetItem":
                self._send("dynamodb", name, RequestItems={table: {}})
            case "BatchWriteItem":
                self._send("dynamodb", name, RequestItems={table: []})
            case "ConditionCheckItem":
                items = [{"ConditionCheck": {"TableName": table}}]
                self._send("dynamodb", "TransactWriteItems", TransactItems=items)
            case _:
                more = {"IndexName": index} if index else {}
                self._send("dynamodb", name, TableName=table, **more)

    def _send(self, service: str, name: str, **arguments: Any) -> None:
        self.client(service)._make_api_call(name, arguments)


def is_denial(error: ClientError) -> bool:
    """Return whether IAM refused a call."""
    code = error.response["Error"]["Code"]
    return "AccessDenied" in code or code in ("AuthorizationError", "Forbidden", "403")


@pytest.fixture(scope="module")
def caller(system: RunningStack) -> RoleCaller:
    """Create some resources of another system; return a caller on the emulated AWS."""
    system.aws("dynamodb").create_table(
        TableName=FOREIGN,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    system.aws("sqs").create_queue(QueueName=FOREIGN)
    system.aws("ssm").put_parameter(Name=FOREIGN, Value="x", Type="String")
    system.aws("sns").create_topic(Name=FOREIGN)
    system.aws("s3").create_bucket(Bucket=FOREIGN)
    return RoleCaller(system)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_allows_its_grants_and_denies_a_sample_of_other_calls(
    function: str, caller: RoleCaller
) -> None:
    role = caller.assume(function)
    asked = select_requests(function)
    assert {each for each in asked if role.can_call(*each)} == list_grants(function)


@pytest.mark.soak
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_denies_every_call_that_is_not_granted(function: str, caller: RoleCaller) -> None:
    """The test takes minutes, because it calls every action on every resource."""
    role = caller.assume(function)
    assert list_grants(function) <= set(REQUESTS)
    assert {each for each in REQUESTS if role.can_call(*each)} == list_grants(function)
