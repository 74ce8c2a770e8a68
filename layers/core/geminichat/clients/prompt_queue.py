"""The prompts queue: SQS FIFO, one group per room, so that its prompts are answered in order.

A message only names a prompt; the content stays in the table.
"""

import time
from typing import Annotated
from uuid import uuid4

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from geminichat import metrics
from geminichat.config import setting
from geminichat.domain import ids
from geminichat.runtime import aws_client, log


class Job(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One prompt to answer."""

    chatroom_id: Annotated[str, msgspec.Meta(pattern="^r_[a-z2-7]{26}$")]
    seq: Annotated[int, msgspec.Meta(ge=1, lt=10**15)]
    generation: str = "0"
    """Which retry of the prompt this is; "0" is the first try."""
    again: int = 0
    """How many times the sweep has queued this generation."""

    @property
    def id(self) -> str:
        """The job's id, which is its deduplication id."""
        return f"{self.prompt_id}-{self.generation}-{self.again}"

    @property
    def prompt_id(self) -> str:
        """The prompt's message id."""
        return ids.message_id(self.chatroom_id, self.seq)


_sqs = aws_client.Client("sqs", connect=1, read=2, attempts=2)


def send(job: Job) -> str:
    """Queue the job and return its id; SQS drops the same job within five minutes.

    A failure is only logged: the prompt is stored, and the sweep queues it.
    """
    try:
        _sqs.call(
            "SendMessage",
            {
                "QueueUrl": setting("PROMPTS_QUEUE_URL"),
                "MessageBody": msgspec.json.encode(job).decode(),
                "MessageGroupId": job.chatroom_id,
                "MessageDeduplicationId": job.id,
            },
        )
    except (BotoCoreError, ClientError) as error:
        log.warning("not queued", job_id=job.id, error=type(error).__name__)
    return job.id


def list_dead_letters(until: float) -> list[Job]:
    """Return the dead letters and leave them in their queue for an operator.

    Stops at `until`, a time of the monotonic clock.
    """
    jobs, count = [], 0
    while time.monotonic() < until:
        received = _sqs.call(
            "ReceiveMessage",
            {"QueueUrl": setting("DEAD_LETTERS_QUEUE_URL"), "MaxNumberOfMessages": 10},
        )
        letters = received.get("Messages", [])
        if not letters:
            break
        count += len(letters)
        for letter in letters:
            try:
                jobs.append(read(letter["Body"]))
            except msgspec.DecodeError:
                log.error("not a job", sqs_message_id=letter["MessageId"])
    if count:
        metrics.emit(DeadLetters=count)
    return jobs


def is_reachable() -> bool:
    """Return True if the queue answers. Raises botocore's errors."""
    _sqs.call(
        "GetQueueAttributes",
        {
            "QueueUrl": setting("PROMPTS_QUEUE_URL"),
            "AttributeNames": ["ApproximateNumberOfMessages"],
        },
    )
    return True


def read(body: str) -> Job:
    """Return the job that a queue message's body holds. Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=Job)


def postpone(receipt_handle: str, seconds: int) -> None:
    """Hide a received message for `seconds` instead of the queue's visibility timeout."""
    _sqs.call(
        "ChangeMessageVisibility",
        {
            "QueueUrl": setting("PROMPTS_QUEUE_URL"),
            "ReceiptHandle": receipt_handle,
            "VisibilityTimeout": seconds,
        },
    )


def send_dead_letter(job: Job, reason: str) -> None:
    """Send the job to the dead-letter queue, with the reason, for an operator."""
    _sqs.call(
        "SendMessage",
        {
            "QueueUrl": setting("DEAD_LETTERS_QUEUE_URL"),
            "MessageBody": msgspec.json.encode(job).decode(),
            "MessageGroupId": job.chatroom_id,
            "MessageDeduplicationId": f"{job.prompt_id}-{uuid4().hex}",
            "MessageAttributes": {"reason": {"DataType": "String", "StringValue": reason}},
        },
    )
