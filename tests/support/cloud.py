"""The emulated AWS of the integration tests: MiniStack with the template's tables and queues.

IAM is not enforced, because handlers run in the test's process without a role. The end-to-end
tests enforce it.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest

from infra.local.cloud import run_until_parent_exits
from infra.paths import MINISTACK_PYTHON
from tests.support.template import QUEUES, TABLES, Properties, Values

START_TIMEOUT = 30.0

TABLE_SETTINGS = (
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
    "StreamSpecification",
)
QUEUE_SETTINGS = (
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "VisibilityTimeout",
    "MessageRetentionPeriod",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
)


@contextmanager
def ministack(url: str, folder: Path) -> Iterator[None]:
    """Run MiniStack at the URL, with its files in the folder, while the block runs."""
    assert MINISTACK_PYTHON.exists(), "MiniStack is not installed: run `make setup`"
    env = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GATEWAY_PORT": str(urlsplit(url).port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_REGION": os.environ["AWS_REGION"],
        "DOCKER_HOST": "unix:///nonexistent",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    log = folder / "ministack.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            run_until_parent_exits.wrapped(MINISTACK_PYTHON, "-m", "ministack"),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=folder,
        )
    try:
        _wait_until_ready(child, f"{url}/_ministack/ready", log)
        yield
    finally:
        assert child.stdin
        child.stdin.close()
        child.wait(run_until_parent_exits.GRACE + 5)


def _wait_until_ready(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url, trust_env=False).raise_for_status()
            return
        time.sleep(0.05)
    pytest.fail(f"MiniStack did not start:\n{log.read_text()[-2000:]}")


def create_tables(values: Values) -> None:
    """Create every table of the template."""
    dynamodb = boto3.client("dynamodb")
    for table, properties in TABLES.items():
        given = {name: properties[name] for name in TABLE_SETTINGS if name in properties}
        settings: Mapping[str, Any] = values.resolve(given)
        dynamodb.create_table(TableName=values.refs[table], **settings)


def create_queues(values: Values) -> None:
    """Create every queue of the template, at the URL that the settings contain."""
    sqs = boto3.client("sqs")
    for queue, properties in QUEUES.items():
        made = sqs.create_queue(
            QueueName=values.attributes[f"{queue}.QueueName"],
            Attributes=_attributes(properties, QUEUE_SETTINGS, values),
        )
        assert made["QueueUrl"] == values.refs[queue]
    for queue, properties in QUEUES.items():  # after the dead-letter queues
        redrive = _attributes(properties, ["RedrivePolicy"], values)
        sqs.set_queue_attributes(QueueUrl=values.refs[queue], Attributes=redrive)


def _attributes(properties: Properties, names: Sequence[str], values: Values) -> Any:
    """Return these properties as SQS expects them: text, or JSON as text."""
    given = {name: values.resolve(properties[name]) for name in names if name in properties}
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in given.items()}


def put_secrets(secrets: Mapping[str, str]) -> None:
    """Store secrets in SSM; a secret's key is the setting with the name of its parameter."""
    ssm = boto3.client("ssm")
    for setting, value in secrets.items():
        ssm.put_parameter(
            Name=os.environ[setting], Value=value, Type="SecureString", Overwrite=True
        )


def verify_sender() -> None:
    """Verify the sender address in SES."""
    boto3.client("sesv2").create_email_identity(EmailIdentity=os.environ["MAIL_FROM"])
