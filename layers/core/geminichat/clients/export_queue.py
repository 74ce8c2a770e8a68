"""The exports queue: a standard SQS queue of the archives to write."""

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from geminichat.config import setting
from geminichat.errors import Unavailable
from geminichat.runtime import aws_client


class ExportJob(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An archive to write."""

    user_id: str
    export_id: str


_sqs = aws_client.Client("sqs", connect=1, read=2, attempts=2)


def send(job: ExportJob) -> None:
    """Queue an archive. Raises Unavailable."""
    body = msgspec.json.encode(job).decode()
    try:
        _sqs.call("SendMessage", {"QueueUrl": setting("EXPORTS_QUEUE_URL"), "MessageBody": body})
    except (BotoCoreError, ClientError) as error:
        raise Unavailable() from error


def read(body: str) -> ExportJob:
    """Return the job in the body of a queue message. Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=ExportJob)
