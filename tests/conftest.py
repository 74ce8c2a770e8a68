"""The environment in which every test runs: what the template gives its functions, all of it local.

It is complete before any of our modules is imported, because tables take their names from it. The
services behind it are started by tests/integration; a unit test that calls one is refused.
"""

import os
import sys
from typing import Any
from uuid import uuid4

import pytest

from infra.local.serving import free_port
from infra.local.standins.stripe import PRO_PRICE
from infra.template import settings
from tests.support.template import QUEUES, TABLES, TEMPLATE, Values

sys.dont_write_bytecode = True  # a __pycache__ in layers/ would look like a change to SAM's cache

REGION = "us-east-1"
ACCOUNT = "000000000000"


def _local_values() -> Values:
    """Return values for the template in which every resource is new and on this machine."""
    suffix = uuid4().hex[:8]
    aws, redis, gemini, stripe = (f"http://127.0.0.1:{free_port()}" for _ in range(4))
    refs = {name: spec.get("Default") for name, spec in TEMPLATE["Parameters"].items()}
    refs |= {
        "AWS::Region": REGION,
        "AWS::AccountId": ACCOUNT,
        "AWS::Partition": "aws",
        "Stage": f"test-{suffix}",
        "AwsEndpoint": aws,
        "UpstashUrl": redis,
        "GeminiEndpoint": gemini,
        "StripeEndpoint": stripe,
        "StripePrice": PRO_PRICE,
        "MailFrom": "no-reply@geminichat.example",
        "CodesPerAddress": 0,  # all tests have one address
    }
    attributes: dict[str, str] = {}
    for table in TABLES:
        refs[table] = f"{table}-{suffix}"
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


for _name in (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "GEMINI_API_KEY",
    "STRIPE_SECRET_KEY",
    "no_proxy",
):
    os.environ.pop(_name, None)
os.environ.update(_environment())


OWN_SYSTEM = ("test_artefacts.py", "test_lifecycle.py", "test_restart.py")
"""Files of end-to-end tests that do without the system which all the others share."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With -n, give test by test to whichever process is free, what shares a system to one.

    xdist's own groups (--dist loadgroup) are not told to it by pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = scope_of
    return scheduling


def scope_of(test: str) -> str:
    """Return the name of what one process runs as a whole: the test alone, or all of a system."""
    path = test.partition("::")[0]
    shares = path.startswith("tests/e2e/") and not path.endswith(OWN_SYSTEM)
    return "system" if shares else test


@pytest.fixture(scope="session")
def values() -> Values:
    """What the template's references stand for in this run."""
    return VALUES
