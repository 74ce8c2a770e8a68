"""The environment that the template gives its functions, with every resource on this machine.

It is set before any of our modules is imported. The integration tests start the services that it
names. The unit tests start no service, so a unit test that calls a service fails.
"""

import os
from uuid import uuid4

from infra.local.serving import free_port
from infra.local.standins.stripe import PRO_PRICE
from infra.template import settings
from tests.support.template import BUCKETS, QUEUES, TABLES, TEMPLATE, Values

REGION = "us-east-1"
ACCOUNT = "000000000000"


def _local_values() -> Values:
    """Return values for the template's references: new resource names, and free local ports."""
    suffix = uuid4().hex[:8]
    aws, front, redis, gemini, stripe = (f"http://127.0.0.1:{free_port()}" for _ in range(5))
    refs = {name: spec.get("Default") for name, spec in TEMPLATE["Parameters"].items()}
    refs |= {
        "AWS::Region": REGION,
        "AWS::AccountId": ACCOUNT,
        "AWS::Partition": "aws",
        "Stage": f"test{suffix}",
        "AWS::URLSuffix": "amazonaws.com",
        "AwsEndpoint": aws,
        "GatewayEndpoint": front,
        "LiveApi": "live-api",
        "UpstashUrl": redis,
        "GeminiEndpoint": gemini,
        "StripeEndpoint": stripe,
        "StripePrice": PRO_PRICE,
        "MailFrom": "no-reply@geminichat.example",
        "CodesPerAddress": 0,  # no limit, because all tests have the same address
        "SignupsPerAddress": 0,
        "TextsPerDay": 1_000_000,
    }
    attributes = {"Api.ApiEndpoint": "https://api.example"}
    for table in TABLES:
        refs[table] = f"{table}-{suffix}"
    for bucket in BUCKETS:
        refs[bucket] = f"{bucket}-{suffix}".lower()
    for queue, properties in QUEUES.items():
        name = f"{queue}-{suffix}" + (".fifo" if properties.get("FifoQueue") else "")
        refs[queue] = f"{aws}/{ACCOUNT}/{name}"
        attributes |= {
            f"{queue}.QueueName": name,
            f"{queue}.Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
        }
    return Values(refs, attributes)


VALUES = _local_values()


def _environment() -> dict[str, str]:
    declared = settings(TEMPLATE)
    variables = {name: str(VALUES.resolve(value)) for name, value in declared.items()}
    return variables | {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def set_environment() -> None:
    """Set the functions' environment, and remove real credentials from it."""
    for name in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "GEMINI_API_KEY",
        "STRIPE_SECRET_KEY",
        "no_proxy",
    ):
        os.environ.pop(name, None)
    os.environ.update(_environment())
