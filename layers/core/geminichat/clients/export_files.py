"""The exports bucket: archives that are written as a stream, fetched by address, and deleted.

An archive is uploaded in parts, so that only one part is in memory. The bucket's lifecycle deletes
the parts that a crash leaves.
"""

import re
from datetime import datetime
from types import TracebackType
from typing import Self
from urllib.parse import quote

from geminichat.config import setting
from geminichat.domain.exports import ADDRESS_LIFETIME
from geminichat.runtime import aws_client

PART = 8 * 1024 * 1024
"""Bytes of a part: S3 takes 5 MiB at least, and 10,000 parts."""

_s3 = aws_client.Client(
    "s3", connect=1, read=60, attempts=4, url=lambda: setting("EXPORTS_URL").rstrip("/")
)


def address(user_id: str, export_id: str, now: datetime) -> str:
    """Return an address at which anyone can fetch the archive until the address expires."""
    url = setting("EXPORTS_URL").rstrip("/") + _path(user_id, export_id)
    seconds = int(ADDRESS_LIFETIME.total_seconds())
    return aws_client.presign("s3", url, seconds, now.timestamp())


def delete(user_id: str, export_id: str) -> None:
    """Delete an archive, if there is one."""
    _s3.send("DELETE", "DeleteObject", _path(user_id, export_id), {}, b"")


def delete_all(user_id: str) -> None:
    """Delete every archive of a user: one per day, and the bucket keeps them for a day or two."""
    path = f"/?list-type=2&prefix={quote(user_id + '/', safe='')}"
    listed = _s3.send("GET", "ListObjectsV2", path, {}, b"").body.decode()
    for key in re.findall(r"<Key>([\w/.-]+)</Key>", listed):
        _s3.send("DELETE", "DeleteObject", f"/{key}", {}, b"")


class Upload:
    """A file-like object that uploads what is written to it; aborted unless it is completed."""

    def __init__(self, user_id: str, export_id: str, file_name: str) -> None:
        """Keep the names; nothing is sent before the block begins."""
        self._path = _path(user_id, export_id)
        self._file_name = file_name
        self._query = ""
        self._etags: list[str] = []
        self._buffer = bytearray()
        self._is_complete = False
        self.size = 0
        """Bytes written so far."""

    def __enter__(self) -> Self:
        headers = {
            "content-disposition": f'attachment; filename="{self._file_name}"',
            "content-type": "application/zip",
        }
        path = f"{self._path}?uploads="
        answer = _s3.send("POST", "CreateMultipartUpload", path, headers, b"")
        found = re.search(r"<UploadId>([^<]+)</UploadId>", answer.body.decode())
        if not found:
            raise ValueError("S3 began no upload.")
        self._query = f"uploadId={quote(found[1], safe='')}"
        return self

    def write(self, data: bytes) -> int:
        """Upload a part as soon as there is enough for one, and return the length of `data`."""
        self._buffer += data
        self.size += len(data)
        if len(self._buffer) >= PART:
            self._send_part()
        return len(data)

    def flush(self) -> None:
        """Do nothing: parts are sent as they become full."""

    def close(self) -> None:
        """Do nothing: `complete` ends the upload."""

    def complete(self) -> None:
        """Upload the rest, and make the object of all parts."""
        self._send_part()
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(self._etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        path = f"{self._path}?{self._query}"
        answer = _s3.send("POST", "CompleteMultipartUpload", path, {}, body)
        if b"<Error>" in answer.body:  # S3 may find it after it has begun to answer 200
            raise ValueError("S3 did not complete the upload.")
        self._is_complete = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._is_complete and (error is None or isinstance(error, Exception)):
            path = f"{self._path}?{self._query}"
            _s3.send("DELETE", "AbortMultipartUpload", path, {}, b"")

    def _send_part(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        path = f"{self._path}?partNumber={len(self._etags) + 1}&{self._query}"
        answer = _s3.send("PUT", "UploadPart", path, {}, data)
        self._etags.append(answer.headers["etag"])


def _path(user_id: str, export_id: str) -> str:
    return f"/{user_id}/{export_id}.zip"
