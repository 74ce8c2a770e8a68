"""The exports bucket: upload archives in parts, sign their URLs, and delete them.

Only one part of an archive is in memory. The bucket's lifecycle deletes the parts that a crash
leaves.
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
"""Bytes of a part: S3 requires 5 MiB at least, and allows 10,000 parts."""

_s3 = aws_client.Client(
    "s3", connect=1, read=60, attempts=4, url=lambda: setting("EXPORTS_URL").rstrip("/")
)


def sign_address(user_id: str, export_id: str, now: datetime) -> str:
    """Return a signed URL of an archive, which anyone can fetch until the signature expires."""
    url = setting("EXPORTS_URL").rstrip("/") + _path(user_id, export_id)
    seconds = int(ADDRESS_LIFETIME.total_seconds())
    return aws_client.presign("s3", url, seconds, now.timestamp())


def delete(user_id: str, export_id: str) -> None:
    """Delete an archive, if there is one."""
    _s3.send("DELETE", "DeleteObject", _path(user_id, export_id), {}, b"")


def delete_all(user_id: str) -> None:
    """Delete the user's archives; they are few, since the bucket keeps an archive for two days."""
    path = f"/?list-type=2&prefix={quote(user_id + '/', safe='')}"
    listed = _s3.send("GET", "ListObjectsV2", path, {}, b"").body.decode()
    for key in re.findall(r"<Key>([\w/.-]+)</Key>", listed):
        _s3.send("DELETE", "DeleteObject", f"/{key}", {}, b"")


class Upload:
    """A file-like object that uploads an archive; without `complete`, the upload is aborted."""

    def __init__(self, user_id: str, export_id: str, file_name: str) -> None:
        """Store the names; the upload begins when the `with` block is entered."""
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
            raise ValueError("S3 did not begin the upload.")
        self._query = f"uploadId={quote(found[1], safe='')}"
        return self

    def write(self, data: bytes) -> int:
        """Add data, upload a part when there is enough for one, and return the length of `data`."""
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
        """Upload the last part, and join all parts into the archive."""
        self._send_part()
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(self._etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        path = f"{self._path}?{self._query}"
        answer = _s3.send("POST", "CompleteMultipartUpload", path, {}, body)
        if b"<Error>" in answer.body:  # S3 may fail after it has begun to answer 200
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
