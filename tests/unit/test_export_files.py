"""Archives are uploaded in parts as they are written, into a bucket that keeps them for a day."""

import os
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from geminichat.clients import export_files
from geminichat.domain import exports
from geminichat.runtime import aws_client
from geminichat.runtime.http_client import Answer
from tests.support.template import BUCKETS, FUNCTIONS, QUEUES, of_type

MEGABYTE = 1024 * 1024
LEAST = 5 * MEGABYTE
"""The least bytes that S3 accepts in a part, except the last part."""


class Bucket:
    """A stand-in for S3 that records the size of each part."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.completion = b"<CompleteMultipartUploadResult/>"

    def __call__(
        self, call: str, _url: str, _headers: Mapping[str, str], body: bytes, *_more: Any
    ) -> Answer:
        self.calls.append((call.partition(".")[2], len(body)))
        if call == "s3.CompleteMultipartUpload":
            return Answer(200, {}, self.completion)
        return Answer(200, {"etag": '"e"'}, b"<UploadId>1</UploadId>")

    @property
    def parts(self) -> list[int]:
        return [size for operation, size in self.calls if operation == "UploadPart"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket()
    monkeypatch.setattr(aws_client, "transport", bucket)
    return bucket


def test_memory_holds_only_a_part_of_an_archive_at_a_time(bucket: Bucket) -> None:
    piece = os.urandom(50_000)
    tracemalloc.start()
    with export_files.Upload("u_1", "e_1", "archive.zip") as upload:
        for _ in range(2_000):
            upload.write(piece)
        upload.complete()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert upload.size == sum(bucket.parts) == 100_000_000
    assert all(size >= LEAST for size in bucket.parts[:-1])
    assert peak < 4 * export_files.PART


def test_an_upload_that_is_not_completed_is_aborted(bucket: Bucket) -> None:
    upload = export_files.Upload("u_1", "e_1", "archive.zip")
    with pytest.raises(KeyError), upload:
        raise KeyError("a bug")
    assert bucket.calls[-1][0] == "AbortMultipartUpload"


def test_an_s3_error_in_a_200_answer_is_raised(bucket: Bucket) -> None:
    bucket.completion = b"<Error><Code>InternalError</Code></Error>"
    with (
        pytest.raises(ValueError, match="did not complete"),
        export_files.Upload("u_1", "e_1", "archive.zip") as upload,
    ):
        upload.complete()
    assert bucket.calls[-1][0] == "AbortMultipartUpload"


def test_the_bucket_of_exports_is_private_and_encrypted_and_keeps_archives_for_a_day() -> None:
    bucket = BUCKETS["ExportsBucket"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    [encryption] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    [rule] = bucket["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", exports.KEPT.days)
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert "LoggingConfiguration" not in bucket, "a log would contain signed URLs"


def test_the_bucket_of_exports_refuses_requests_without_tls() -> None:
    [policy] = of_type("AWS::S3::BucketPolicy").values()
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_all_attempts_of_an_export_end_before_it_counts_as_failed() -> None:
    queue = QUEUES["ExportsQueue"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == exports.ATTEMPTS
    last = exports.ATTEMPTS * queue["VisibilityTimeout"]
    assert last < exports.LONGEST.total_seconds()
    assert FUNCTIONS["ExportsWrite"]["Timeout"] < queue["VisibilityTimeout"]
