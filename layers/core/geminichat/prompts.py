"""The prompts queue: SQS FIFO, one group a chatroom, so that a room's prompts are answered in order.

A message names a prompt and holds nothing of it: content stays in the table.
"""

from typing import Any
from uuid import uuid4

import msgspec
from botocore.config import Config

from geminichat import aws
from geminichat.config import setting
from geminichat.domain import ids


class Job(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One prompt to answer."""

    chatroom_id: str
    seq: int

    @property
    def prompt_id(self) -> str:
        """The prompt's message id."""
        return ids.message_id(self.chatroom_id, self.seq)


_sqs: Any = None


def _client() -> Any:
    global _sqs
    if _sqs is None:
        _sqs = aws.session().create_client(
            "sqs",
            config=Config(
                connect_timeout=1,
                read_timeout=2,
                retries={"total_max_attempts": 2, "mode": "standard"},
            ),
        )
    return _sqs


def send(job: Job, *, round: int = 0) -> str:
    """Queue the job and return its id; the same job again within five minutes counts once.

    `round` tells one queueing of the same prompt from the next (a retry, a sweep). Raises what
    botocore raises: the caller's prompt is stored by then, and the sweep queues what was not.
    """
    job_id = f"{job.prompt_id}-{round}"
    _client().send_message(
        QueueUrl=setting("PROMPTS_QUEUE_URL"),
        MessageBody=msgspec.json.encode(job).decode(),
        MessageGroupId=job.chatroom_id,
        MessageDeduplicationId=job_id,
    )
    return job_id


def reachable() -> bool:
    """Return True if the queue answers. Raises what botocore raises."""
    _client().get_queue_attributes(
        QueueUrl=setting("PROMPTS_QUEUE_URL"), AttributeNames=["ApproximateNumberOfMessages"]
    )
    return True


def read(body: str) -> Job:
    """Return the job that a queue message's body holds. Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=Job)


def postpone(receipt_handle: str, seconds: int) -> None:
    """Let a received message come back after `seconds`, instead of after the visibility timeout."""
    _client().change_message_visibility(
        QueueUrl=setting("PROMPTS_QUEUE_URL"),
        ReceiptHandle=receipt_handle,
        VisibilityTimeout=seconds,
    )


def bury(job: Job, reason: str) -> None:
    """Put the job into the dead-letter queue, with the reason, for someone to look at."""
    _client().send_message(
        QueueUrl=setting("DEAD_LETTERS_QUEUE_URL"),
        MessageBody=msgspec.json.encode(job).decode(),
        MessageGroupId=job.chatroom_id,
        MessageDeduplicationId=f"{job.prompt_id}-{uuid4().hex}",
        MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
    )
