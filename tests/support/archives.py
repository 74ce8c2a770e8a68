"""Archives of exports, as users fetch them."""

import io
import json
from typing import Any
from zipfile import ZipFile

import boto3
import httpx

from tests.support.environment import VALUES

BUCKET = str(VALUES.refs["ExportsBucket"])


def fetch(url: str) -> httpx.Response:
    """Fetch an archive by its URL, and return S3's answer."""
    return httpx.get(url, trust_env=False, timeout=60)


def read(url: str) -> dict[str, list[Any]]:
    """Return the records in the archive at a URL, by kind."""
    answer = fetch(url)
    assert answer.status_code == 200, answer.text
    return records_in(answer.content)


def records_in(content: bytes) -> dict[str, list[Any]]:
    """Return the records in an archive, by kind."""
    with ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {
            name.removesuffix(".jsonl"): [json.loads(line) for line in archive.open(name)]
            for name in archive.namelist()
            if name.endswith(".jsonl")
        }


def keys_of(user_id: str) -> list[str]:
    """Return the S3 keys of a user's archives."""
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=user_id)
    return [one["Key"] for one in listed.get("Contents", [])]


def list_unfinished() -> list[str]:
    """Return the S3 keys of the uploads that were neither completed nor aborted."""
    listed = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET)
    return [one["Key"] for one in listed.get("Uploads", [])]
