"""Post frames to WebSocket connections, and close connections, through API Gateway."""

from enum import Enum
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from geminichat.config import setting
from geminichat.runtime import aws_client, deadlines, log

DEADLINE = 1.0
"""Seconds for a request, including the connection to API Gateway."""

_api = aws_client.Client(
    "execute-api",
    connect=DEADLINE,
    read=DEADLINE,
    attempts=1,
    url=lambda: setting("LIVE_CONNECTIONS_URL"),
)


class Posted(Enum):
    """The result of posting a frame."""

    SENT = "sent"
    GONE = "gone"
    """The connection is closed, or is not open yet."""
    REFUSED = "refused"
    """API Gateway throttled the post, failed, or did not answer in time."""


def post(connection_id: str, frame: bytes) -> Posted:
    """Send a frame to a connection within a second, without a retry."""
    headers = {"content-type": "application/json"}
    try:
        with deadlines.within(DEADLINE):
            _api.send("POST", "PostToConnection", _path(connection_id), headers, frame)
    except ClientError as error:
        return Posted.GONE if _is_gone(error) else Posted.REFUSED
    except BotoCoreError:
        return Posted.REFUSED
    return Posted.SENT


def close(connection_id: str) -> None:
    """Close a connection within a second, if it is open; a failure is only logged."""
    try:
        with deadlines.within(DEADLINE):
            _api.send("DELETE", "DeleteConnection", _path(connection_id), {}, b"")
    except (BotoCoreError, ClientError) as error:
        if not isinstance(error, ClientError) or not _is_gone(error):
            log.warning("connection not closed", error=type(error).__name__)


def _path(connection_id: str) -> str:
    return f"/%40connections/{quote(connection_id, safe='')}"


def _is_gone(error: ClientError) -> bool:
    return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 410)
