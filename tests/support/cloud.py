"""The emulated AWS of the integration tests: MiniStack with the template's tables and queues.

With ENGINE=dynamodb-local the tables are in DynamoDB Local, AWS's own engine, instead.

IAM is not enforced, because handlers run in the test's process without a role. The end-to-end
tests enforce IAM.
"""

import contextlib
import json
import os
import subprocess
import sys
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
from infra.local.serving import free_port
from infra.paths import MINISTACK_PYTHON, ROOT
from tests.support.template import BUCKETS, QUEUES, TABLES, Properties, Values

START_TIMEOUT = 60.0

DYNAMODB_LOCAL = os.environ.get("ENGINE") == "dynamodb-local"
"""Whether the tables are in DynamoDB Local; tests/integration/ENGINES.md compares the two."""

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
    command = [str(MINISTACK_PYTHON), "-m", "ministack"]
    with _run(command, f"{url}/_ministack/ready", folder, folder, env):
        yield


@contextmanager
def dynamodb_local(folder: Path) -> Iterator[None]:
    """Use DynamoDB Local, with its log in the folder, for all tables while the block runs."""
    setup = ROOT / "infra" / "setup.py"
    subprocess.run([sys.executable, setup, "--only", "java", "dynamodb-local"], check=True)
    [jar] = (ROOT / ".local" / "dynamodb-local").rglob("DynamoDBLocal.jar")
    [java] = (ROOT / ".local" / "java").rglob("bin/java")
    port = str(free_port())
    fast_start = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m"]
    command = [str(java), *fast_start]
    command += ["-Djava.library.path=DynamoDBLocal_lib", "-jar", str(jar)]
    command += ["-inMemory", "-sharedDb", "-disableTelemetry", "-port", port]
    url = f"http://127.0.0.1:{port}"
    with (
        _run(command, f"{url}/shell/", folder, jar.parent, {"PATH": os.defpath}),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        yield


@contextmanager
def _run(
    command: Sequence[str], ready: str, folder: Path, cwd: Path, env: Mapping[str, str]
) -> Iterator[None]:
    """Run an emulator, with its log in the folder, while the block runs."""
    log = folder / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            run_until_parent_exits.wrap(*command),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
        )
    try:
        _wait_until_ready(child, ready, log)
        yield
    finally:
        assert child.stdin
        child.stdin.close()
        child.wait(run_until_parent_exits.GRACE + 5)


def _wait_until_ready(child: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code < 500:
                return
        time.sleep(0.05)
    pytest.fail(f"{url} was not ready:\n{log.read_text()[-2000:]}")


def create_tables(values: Values) -> None:
    """Create every table of the template."""
    for table in TABLES:
        create_table(values.refs[table], table, values)


def create_table(name: str, table: str, values: Values) -> None:
    """Create a table under this name, with the keys and indexes of a table of the template."""
    given = {
        setting: TABLES[table][setting] for setting in TABLE_SETTINGS if setting in TABLES[table]
    }
    settings: Mapping[str, Any] = values.resolve(given)
    boto3.client("dynamodb").create_table(TableName=name, **settings)


def create_queues(values: Values) -> None:
    """Create every queue of the template, each at the URL that the settings name."""
    sqs = boto3.client("sqs")
    for queue, properties in QUEUES.items():
        made = sqs.create_queue(
            QueueName=values.attributes[f"{queue}.QueueName"],
            Attributes=_attributes(properties, QUEUE_SETTINGS, values),
        )
        assert made["QueueUrl"] == values.refs[queue]
    for queue, properties in QUEUES.items():  # now that the dead-letter queues exist
        redrive = _attributes(properties, ["RedrivePolicy"], values)
        sqs.set_queue_attributes(QueueUrl=values.refs[queue], Attributes=redrive)


def create_buckets(values: Values) -> None:
    """Create every bucket of the template."""
    for bucket in BUCKETS:
        boto3.client("s3").create_bucket(Bucket=values.refs[bucket])


def _attributes(properties: Properties, names: Sequence[str], values: Values) -> Any:
    """Return these properties with string values, as SQS expects them; other values become JSON."""
    given = {name: values.resolve(properties[name]) for name in names if name in properties}
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in given.items()}


def put_secrets(secrets: Mapping[str, str]) -> None:
    """Store secrets in SSM, each under the parameter that its setting names."""
    ssm = boto3.client("ssm")
    for setting, value in secrets.items():
        ssm.put_parameter(
            Name=os.environ[setting], Value=value, Type="SecureString", Overwrite=True
        )


def verify_sender() -> None:
    """Verify the sender address in SES."""
    boto3.client("sesv2").create_email_identity(EmailIdentity=os.environ["MAIL_FROM"])
