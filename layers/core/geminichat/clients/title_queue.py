"""The titles queue: a standard SQS queue of rooms that still have the default title."""

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from geminichat.config import setting
from geminichat.runtime import aws_client, log


class TitleJob(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A room to title, and the position of its answered prompt."""

    user_id: str
    chatroom_id: str
    seq: int


_sqs = aws_client.Client("sqs", connect=0.5, read=0.5, attempts=1)


def send(user_id: str, chatroom_id: str, seq: int) -> None:
    """Queue a room and its answered prompt if this stage generates titles.

    A failure is only logged: the room's next answered prompt queues it again.
    """
    url = setting("TITLES_QUEUE_URL")
    if not url:
        return
    body = msgspec.json.encode(TitleJob(user_id=user_id, chatroom_id=chatroom_id, seq=seq))
    try:
        _sqs.call("SendMessage", {"QueueUrl": url, "MessageBody": body.decode()})
    except (BotoCoreError, ClientError) as error:
        log.warning("title not queued", chatroom_id=chatroom_id, error=type(error).__name__)


def read(body: str) -> TitleJob:
    """Return the job that a queue message's body holds. Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=TitleJob)
