"""An index that lags behind its table, as DynamoDB's global indexes may do for seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import boto3

from tests.support import cloud
from tests.support.template import Values
from tests.support.wire import Wire


@contextmanager
def delay_index(wire: Wire, values: Values, table: str, index: str) -> Iterator[None]:
    """Answer an index's queries from a copy made before the block, while the block runs."""
    name, copy = values.refs[table], f"{values.refs[table]}-{uuid4().hex[:8]}"
    dynamodb = boto3.client("dynamodb")
    cloud.create_table(copy, table, values)
    for page in dynamodb.get_paginator("scan").paginate(TableName=name, IndexName=index):
        for item in page["Items"]:
            dynamodb.put_item(TableName=copy, Item=item)
    wire.copies[name, index] = copy
    try:
        yield
    finally:
        del wire.copies[name, index]
        dynamodb.delete_table(TableName=copy)
