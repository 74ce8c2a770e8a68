"""The differences between the two engines (ENGINES.md), and the tests that run on both."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.paths import ROOT
from tests.support import cloud
from tests.support.parallel import repeat_at_once
from tests.support.template import Values

both_engines = pytest.mark.both_engines
LARGE = 390_000
"""Bytes of an attribute: three such items take more than a megabyte."""


class RoomsTable:
    """A table of rooms that only one test uses, through boto3."""

    def __init__(self, table: str) -> None:
        """Open the table of this name."""
        self.dynamodb = boto3.client("dynamodb")
        self.table: Any = {"TableName": table}

    def key(self, room: str) -> dict[str, Any]:
        return {"user_id": {"S": "u"}, "chatroom_id": {"S": room}}

    def put(self, room: str, **more: Any) -> None:
        self.dynamodb.put_item(**self.table, Item=self.key(room) | more)

    def query(self, **more: Any) -> Any:
        values = {":u": {"S": "u"}}
        return self.dynamodb.query(
            **self.table,
            KeyConditionExpression="user_id = :u",
            **{"ExpressionAttributeValues": values} | more,
        )


@pytest.fixture
def rooms(values: Values) -> Iterator[RoomsTable]:
    name = f"Engine-{uuid4().hex[:8]}"
    cloud.create_table(name, "ChatroomsTable", values)
    yield RoomsTable(name)
    boto3.client("dynamodb").delete_table(TableName=name)


def get_error_code(call: Callable[[], object]) -> str:
    """Return the error code of a call, or "accepted" if there is no error."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return "accepted"


REFUSED = "ValidationException" if cloud.DYNAMODB_LOCAL else "accepted"


@both_engines
def test_dynamodb_local_refuses_an_update_with_two_actions_on_one_path(rooms: RoomsTable) -> None:
    update = "SET title = :t, title = :t"
    assert (
        get_error_code(
            lambda: rooms.dynamodb.update_item(
                **rooms.table,
                Key=rooms.key("r"),
                UpdateExpression=update,
                ExpressionAttributeValues={":t": {"S": "t"}},
            )
        )
        == REFUSED
    )


@both_engines
def test_dynamodb_local_refuses_a_filter_on_a_key_attribute(rooms: RoomsTable) -> None:
    found = {":u": {"S": "u"}, ":r": {"S": "r"}}
    assert (
        get_error_code(
            lambda: rooms.query(
                FilterExpression="chatroom_id > :r", ExpressionAttributeValues=found
            )
        )
        == REFUSED
    )


@both_engines
def test_dynamodb_local_refuses_to_read_an_attribute_that_is_not_in_a_global_index(
    values: Values,
) -> None:
    query = lambda: boto3.client("dynamodb").query(  # noqa: E731
        TableName=values.refs["MessagesTable"],
        IndexName="failed",
        KeyConditionExpression="error_code = :c",
        ExpressionAttributeValues={":c": {"S": "none"}},
        ProjectionExpression="content",
    )
    assert get_error_code(query) == REFUSED


@both_engines
def test_a_query_page_ends_at_about_a_megabyte_and_reports_its_read_units(
    rooms: RoomsTable,
) -> None:
    for number in range(4):
        rooms.put(f"r{number}", title={"S": "x" * LARGE})
    page = rooms.query(ConsistentRead=True, ReturnConsumedCapacity="TOTAL")
    items, units = len(page["Items"]), page["ConsumedCapacity"]["CapacityUnits"]
    assert "LastEvaluatedKey" in page
    assert (items, units) == ((3, 286) if cloud.DYNAMODB_LOCAL else (2, 1))


@both_engines
def test_parallel_transactions_on_one_item_are_all_committed(rooms: RoomsTable) -> None:
    update = {
        **rooms.table,
        "Key": rooms.key("r"),
        "UpdateExpression": "ADD last_seq :n",
        "ExpressionAttributeValues": {":n": {"N": "1"}},
    }
    write: Any = [{"Update": update}]
    repeat_at_once(lambda _: rooms.dynamodb.transact_write_items(TransactItems=write), 20)
    item = rooms.dynamodb.get_item(**rooms.table, Key=rooms.key("r"), ConsistentRead=True)["Item"]
    assert item["last_seq"] == {"N": "20"}


@both_engines
def test_an_expired_item_is_still_returned(rooms: RoomsTable) -> None:
    ttl = {"Enabled": True, "AttributeName": "expires_at"}
    rooms.dynamodb.update_time_to_live(**rooms.table, TimeToLiveSpecification=ttl)  # type: ignore[arg-type]
    rooms.put("r", expires_at={"N": "1"})
    assert len(rooms.query()["Items"]) == 1


@both_engines
@pytest.mark.parametrize("size", [409_600, 399_000])
def test_an_item_of_more_than_400_kb_is_refused(rooms: RoomsTable, size: int) -> None:
    refused = get_error_code(lambda: rooms.put("r", title={"S": "x" * size}))
    assert refused == ("ValidationException" if size > 400_000 else "accepted")


@pytest.mark.skipif(cloud.DYNAMODB_LOCAL, reason="this run is on the second engine")
@pytest.mark.timeout(300)
def test_the_tests_marked_both_engines_pass_on_dynamodb_local() -> None:
    files = sorted((ROOT / "tests" / "integration").rglob("test_*.py"))
    marked = [str(file) for file in files if "both_engines" in file.read_text()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *marked, "-m", "both_engines", "-q"],
        cwd=ROOT,
        env=os.environ | {"ENGINE": "dynamodb-local"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 20
