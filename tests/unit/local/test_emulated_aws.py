"""The additions of `make up` to MiniStack: a journal, faults, and the reload of changed code."""

import asyncio
import functools
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra import running
from infra.local.chaos import processes
from infra.local.cloud.programs import Program, start_ministack
from infra.local.data_folder import DataFolder
from infra.local.serving import free_port
from infra.local.standins.faults import BadFault
from tests.support.descriptions import DESCRIPTION
from tests.support.standins import StandIn


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Return an asynchronous test as a synchronous test."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


ONCE = Config(retries={"total_max_attempts": 1})
KEYS: Any = {
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
COUNT: Any = {
    "TableName": "counts",
    "Key": {"id": {"S": "a"}},
    "UpdateExpression": "ADD n :one",
    "ExpressionAttributeValues": {":one": {"N": "1"}},
}


@pytest.fixture
def aws() -> running.Aws:
    return running.Aws(endpoint_url=f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "home")


@asynccontextmanager
async def start(
    folder: DataFolder, aws: running.Aws, sources: Path | None = None
) -> AsyncIterator[Program]:
    port = int(aws.endpoint_url.rpartition(":")[2])
    program = await start_ministack(folder, port, {}, sources)
    try:
        yield program
    finally:
        await program.stop()


def read_count(aws: running.Aws) -> str:
    item = aws.client("dynamodb").get_item(TableName="counts", Key=COUNT["Key"])["Item"]
    return str(item["n"]["N"])


@in_loop
async def test_a_killed_emulator_restores_every_write_exactly_once(
    folder: DataFolder, aws: running.Aws
) -> None:
    dynamodb, ssm = aws.client("dynamodb"), aws.client("ssm")
    async with start(folder, aws) as program:
        dynamodb.create_table(TableName="counts", **KEYS)
        dynamodb.update_item(**COUNT)
        httpx.post(f"{aws.endpoint_url}/_save").raise_for_status()
        dynamodb.update_item(**COUNT)
        dynamodb.transact_write_items(TransactItems=[{"Update": COUNT}])
        with pytest.raises(ClientError):
            dynamodb.update_item(**COUNT | {"ConditionExpression": "attribute_not_exists(id)"})
        ssm.put_parameter(Name="/kept", Value="yes", Type="String")
        stack = msgspec.structs.replace(DESCRIPTION, logs=str(folder.logs))
        assert processes.kill_emulated_aws(stack)
        await program.wait()
    for _ in range(2):  # after the kill, and after a stop
        async with start(folder, aws):
            assert read_count(aws) == "3"
            assert ssm.get_parameter(Name="/kept")["Parameter"]["Value"] == "yes"


@in_loop
async def test_a_fault_of_the_emulated_aws_happens_as_often_as_requested(
    folder: DataFolder, aws: running.Aws
) -> None:
    dynamodb, sqs = aws.client("dynamodb", ONCE), aws.client("sqs", ONCE)
    async with start(folder, aws):
        faults = StandIn(aws.endpoint_url)
        dynamodb.create_table(TableName="counts", **KEYS)
        for kind, code in (
            ("conflict", "TransactionConflictException"),
            ("throttled", "ThrottlingException"),
            ("failing", "InternalServerError"),
            ("lost", "InternalServerError"),
        ):
            faults.fault(kind, match="dynamodb.")
            with pytest.raises(ClientError) as failed:
                dynamodb.update_item(**COUNT)
            assert failed.value.response["Error"]["Code"] == code
        assert read_count(aws) == "1", "only the call with the lost answer was executed"
        faults.fault("conflict", match="dynamodb.TransactWriteItems")
        with pytest.raises(ClientError) as failed:
            dynamodb.transact_write_items(TransactItems=[{"Update": COUNT}])
        assert failed.value.response["Error"]["Code"] == "TransactionCanceledException"
        assert failed.value.response["CancellationReasons"][0]["Code"] == "TransactionConflict"

        attributes = {"FifoQueue": "true"}
        queue = sqs.create_queue(QueueName="q.fifo", Attributes=attributes)["QueueUrl"]
        for number, kind in enumerate(["swallow", "double"]):
            faults.fault(kind, match="sqs.SendMessage")
            sqs.send_message(
                QueueUrl=queue,
                MessageBody=kind,
                MessageGroupId=str(number),
                MessageDeduplicationId=kind,
            )
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        assert [message["Body"] for message in found] == ["double", "double"]
        with pytest.raises(BadFault, match="conflict, double, failing, lost, swallow, throttled"):
            faults.fault("fire")


HANDLER = "def handler(event, context):\n    return {!r}\n"


@pytest.mark.parametrize(
    ("function", "code"), [("EchoWord-1A2B", "echo_word"), ("admin-echo", "admin_echo")]
)
@in_loop
async def test_changed_code_of_a_function_runs_within_five_seconds(
    function: str, code: str, folder: DataFolder, aws: running.Aws, tmp_path: Path
) -> None:
    source = tmp_path / "checkout" / "functions" / code / "app.py"
    source.parent.mkdir(parents=True)
    source.write_text(HANDLER.format("one"))
    deployed = io.BytesIO()
    with zipfile.ZipFile(deployed, "w") as archive:
        archive.writestr("app.py", HANDLER.format("before it was deployed"))
    functions = aws.client("lambda")

    def answer() -> Any:
        return json.loads(functions.invoke(FunctionName=name)["Payload"].read())

    async with start(folder, aws, tmp_path / "checkout"):
        trust = {"Service": "lambda.amazonaws.com"}
        allow = {"Effect": "Allow", "Principal": trust, "Action": "sts:AssumeRole"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        role = aws.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument=policy)
        name = functions.create_function(
            FunctionName=f"geminichat-local-{function}",
            Runtime="python3.13",
            Handler="app.handler",
            Role=role["Role"]["Arn"],
            Code={"ZipFile": deployed.getvalue()},
        )["FunctionName"]
        assert answer() == "one"
        source.write_text(HANDLER.format("two"))
        saved = time.monotonic()
        while answer() != "two":
            assert time.monotonic() - saved < 5
            await asyncio.sleep(0.1)
    [unpacked] = (folder.scratch / "unpacked").iterdir()
    assert (unpacked / "app.py").read_text() == HANDLER.format("two")
