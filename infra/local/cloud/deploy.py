"""Deploy the template to MiniStack: `sam deploy`, secrets, and the parts that MiniStack ignores."""

import asyncio
import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.command import CommandError
from infra.local.cloud.build import run_sam
from infra.paths import BUILD, display_path
from infra.running import Aws, Queue, Resources
from infra.stages import release, stack
from infra.template import load

if TYPE_CHECKING:
    from mypy_boto3_apigatewayv2 import ApiGatewayV2Client
    from mypy_boto3_apigatewayv2.type_defs import CorsTypeDef
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

STACK = "geminichat-local"
STAGE = "local"
DEPLOYED = f"/infra-local/{STACK}/deployed"
"""An SSM parameter in MiniStack with the digest of the current deployment."""

MAIL_FROM = "no-reply@geminichat.example"
FINISHED = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
ANY = "x-amazon-apigateway-any-method"


def routes_of(body: Mapping[str, Any]) -> dict[str, str]:
    """Return an OpenAPI document's routes, each with the logical id of its function or alias."""
    routes = {}
    for path, methods in body["paths"].items():
        for method, operation in methods.items():
            uri = operation.get("x-amazon-apigateway-integration", {}).get("uri", {})
            function = re.search(r"\$\{(\w+)(?:\.Arn)?\}/invocations", str(uri))
            if function:
                key = f"{'ANY' if method == ANY else method.upper()} {path}"
                routes["$default" if path == "/$default" else key] = function[1]
    return routes


def cors_of(body: Mapping[str, Any]) -> "CorsTypeDef":
    """Return an OpenAPI document's CORS rules in the format that API Gateway expects."""
    rules = body.get("x-amazon-apigateway-cors", {})
    cors: Any = {name[0].upper() + name[1:]: value for name, value in rules.items()}
    origins = cors.get("AllowOrigins")
    if isinstance(origins, str):  # a CommaDelimitedList, which SAM does not split
        cors["AllowOrigins"] = [origin.strip() for origin in origins.split(",")]
    result: CorsTypeDef = cors
    return result


def select_declared(template: Path, values: Mapping[str, str]) -> dict[str, str]:
    """Return only the values of parameters that the template declares."""
    parameters = load(template)["Parameters"]
    return {name: value for name, value in values.items() if name in parameters}


def digest(*parts: str) -> str:
    """Return a digest of these parts of a deployment."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Cloud:
    """The emulated AWS, called as the root user of its account."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        config = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 2})
        self._ssm: SSMClient = aws.client("ssm", config)
        self._stacks: CloudFormationClient = aws.client("cloudformation", config)
        self._sqs: SQSClient = aws.client("sqs", config)
        self._apis: ApiGatewayV2Client = aws.client("apigatewayv2", config)
        self._ses = aws.client("sesv2", config)
        self._iam = aws.client("iam", config)

    def put_secrets(self, given: Mapping[str, str]) -> str:
        """Store these secrets, and return Upstash's token.

        Create the signing keys and Upstash's token if they are missing.
        """
        for purpose, value in given.items():
            self._secret(purpose, value, always=True)
        kid = secrets.token_hex(4)
        signing_key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        self._secret("signing-keys", json.dumps({"current": kid, "keys": {kid: signing_key}}))
        return self._secret("upstash-token", secrets.token_urlsafe(24))

    def verify_sender(self) -> None:
        """Register the sender's address with SES."""
        with suppress(self._ses.exceptions.AlreadyExistsException):
            self._ses.create_email_identity(EmailIdentity=MAIL_FROM)

    def is_deployed(self, expected: str) -> bool:
        """Return whether the deployment with this digest is complete."""
        try:
            deployed = self._ssm.get_parameter(Name=DEPLOYED)["Parameter"]["Value"]
            stack = self._stacks.describe_stacks(StackName=STACK)["Stacks"][0]
        except ClientError:
            return False
        return deployed == expected and stack["StackStatus"] in FINISHED

    def save(self) -> None:
        """Write MiniStack's state to disk, because the journal only covers tables and SSM."""
        httpx.post(f"{self.aws.endpoint_url}/_save", timeout=60, trust_env=False).raise_for_status()

    def store_digest(self, digest: str) -> None:
        """Store the digest of the current deployment."""
        self._ssm.put_parameter(Name=DEPLOYED, Value=digest, Type="String", Overwrite=True)

    def resources(self) -> Resources:
        """Return the names and ids of the deployed resources."""
        made = self.list_resources()
        outputs = self._stacks.describe_stacks(StackName=STACK)["Stacks"][0].get("Outputs", [])
        apis = made["AWS::ApiGatewayV2::Api"]
        return Resources(
            api_id=apis["Api"],
            live_api_id=apis["LiveApi"],
            tables=made.get("AWS::DynamoDB::Table", {}),
            queues={
                name: self._queue(url) for name, url in made.get("AWS::SQS::Queue", {}).items()
            },
            functions=made.get("AWS::Lambda::Function", {}),
            aliases=made.get("AWS::Lambda::Alias", {}),
            log_groups=made.get("AWS::Logs::LogGroup", {}),
            outputs={output["OutputKey"]: output["OutputValue"] for output in outputs},
        )

    def set_boundaries(self) -> None:
        """Set every role's permissions boundary: MiniStack's CloudFormation ignores boundaries."""
        made = self.list_resources()
        boundary = made["AWS::IAM::ManagedPolicy"]["Boundary"]
        for role in made["AWS::IAM::Role"].values():
            self._iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=boundary)

    def create_routes(self, resources: Resources) -> None:
        """Create the template's routes and CORS rules in the API.

        MiniStack ignores the routes and rules in the OpenAPI body of an HTTP API.
        """
        processed = self._stacks.get_template(StackName=STACK, TemplateStage="Processed")
        template: Any = processed["TemplateBody"]
        body = template["Resources"]["Api"]["Properties"]["Body"]
        self._update_routes(resources, routes_of(body))
        cors = cors_of(body)
        if cors:
            self._apis.update_api(ApiId=resources.api_id, CorsConfiguration=cors)

    def list_resources(self) -> dict[str, dict[str, str]]:
        """Return the physical names of the stack's resources by type and logical id."""
        made: dict[str, dict[str, str]] = {}
        for page in self._stacks.get_paginator("list_stack_resources").paginate(StackName=STACK):
            for resource in page["StackResourceSummaries"]:
                of_type = made.setdefault(resource["ResourceType"], {})
                of_type[resource["LogicalResourceId"]] = resource["PhysicalResourceId"]
        return made

    def _update_routes(self, resources: Resources, expected: Mapping[str, str]) -> None:
        api_id = resources.api_id
        integrations = {
            found["IntegrationUri"]: found["IntegrationId"]
            for found in self._apis.get_integrations(ApiId=api_id)["Items"]
        }
        routes = {
            route["RouteKey"]: route for route in self._apis.get_routes(ApiId=api_id)["Items"]
        }
        for key in routes.keys() - expected.keys():
            self._apis.delete_route(ApiId=api_id, RouteId=routes[key]["RouteId"])
        for key, function in expected.items():
            arn = resources.aliases.get(function) or self._arn(resources.functions[function])
            if arn not in integrations:
                integrations[arn] = self._apis.create_integration(
                    ApiId=api_id,
                    IntegrationType="AWS_PROXY",
                    IntegrationUri=arn,
                    PayloadFormatVersion="2.0",
                )["IntegrationId"]
            target = f"integrations/{integrations[arn]}"
            if key not in routes:
                self._apis.create_route(ApiId=api_id, RouteKey=key, Target=target)
            elif routes[key].get("Target") != target:
                self._apis.update_route(ApiId=api_id, RouteId=routes[key]["RouteId"], Target=target)

    def _arn(self, function: str) -> str:
        return f"arn:aws:lambda:{self.aws.region}:000000000000:function:{function}"

    def _queue(self, url: str) -> Queue:
        attributes = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        return Queue(name=arn.rsplit(":", 1)[1], url=url, arn=arn)

    def _secret(self, purpose: str, value: str, *, always: bool = False) -> str:
        """Store a secret unless it exists; return the stored value.

        With `always`, replace an existing value that differs.
        """
        name = f"/geminichat/{STAGE}/{purpose}"
        known: str | None = None
        with suppress(self._ssm.exceptions.ParameterNotFound):
            known = self._ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        if known is None or (always and known != value):
            self._ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
            return value
        return known


def _quote(value: str) -> str:
    """Return a parameter's value in quotes, so that `sam deploy` accepts spaces and ""."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def deploy(cloud: Cloud, parameters: Mapping[str, str], log: Path) -> None:
    """Deploy the last build with these parameters. Raises CommandError."""
    aws, template = cloud.aws, BUILD / "template.yaml"
    release.stamp(template, parameters)
    arguments: list[str | Path] = ["deploy", "--template-file", template]
    arguments += ["--stack-name", STACK, "--region", aws.region, "--resolve-s3"]
    arguments += ["--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
    arguments += ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"]
    arguments += ["--parameter-overrides"]
    arguments += [f"{name}={_quote(value)}" for name, value in parameters.items()]
    try:
        await run_sam(arguments, aws.environment, log)
    except CommandError as error:
        failed = "create/update the stack" in str(error)
        stacks = aws.client("cloudformation")
        failure = await asyncio.to_thread(stack.failure, stacks, STACK) if failed else None
        if failure is None:
            raise
        raise CommandError(f"sam deploy failed: {failure} (log: {display_path(log)})") from error
