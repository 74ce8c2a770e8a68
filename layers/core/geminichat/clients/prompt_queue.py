"""The queues of prompts: SQS FIFO with a group per room, which keeps a room's prompts in order.

Prompts of the pro plan have their own queue and workers, so that prompts of the free basic plan
never delay them. A message only names a prompt; the content stays in the table.
"""

import time
from collections.abc import Iterator, Mapping
from threading import Event, Lock, Thread
from typing import Annotated, Self
from uuid import uuid4

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from geminichat import metrics
from geminichat.config import setting
from geminichat.domain import ids
from geminichat.domain.plans import Plan
from geminichat.runtime import aws_client, log


class Job(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One prompt to answer."""

    chatroom_id: Annotated[str, msgspec.Meta(pattern="^r_[a-z2-7]{26}$")]
    seq: Annotated[int, msgspec.Meta(ge=1, lt=10**15)]
    generation: str = "0"
    """Which retry of the prompt this is; "0" is the first try."""
    again: int = 0
    """The number of times that the sweep has queued this generation."""
    plan: Plan = Plan.BASIC
    """The plan under which the prompt was sent, which decides the queue."""

    @property
    def id(self) -> str:
        """The job's id, which SQS uses as the deduplication id."""
        return f"{self.prompt_id}-{self.generation}-{self.again}"

    @property
    def prompt_id(self) -> str:
        """The id of the prompt, as in the messages of the API."""
        return ids.message_id(self.chatroom_id, self.seq)


QUEUES = {Plan.BASIC: "PROMPTS_QUEUE_URL", Plan.PRO: "PRO_PROMPTS_QUEUE_URL"}
"""The setting that names the queue of each plan."""

HIDDEN_FOR = 20
"""Seconds for which a worker hides its messages at a time: as long as a lease."""
HEARTBEAT = 8.0
"""Seconds after which a worker hides its messages again: soon enough that one call may fail."""

TAKEN_FOR = 60
"""Seconds for which a dead letter is hidden from other consumers while it is handled."""
PATIENCE = TAKEN_FOR + 10.0
"""Seconds to wait for dead letters that other consumers have received."""

_sqs = aws_client.Client("sqs", connect=1, read=2, attempts=2)


def send(job: Job) -> None:
    """Queue a job; SQS drops further copies of it for five minutes.

    A failure is only logged: the prompt is stored, and the sweep queues it.
    """
    try:
        _sqs.call(
            "SendMessage",
            {
                "QueueUrl": setting(QUEUES[job.plan]),
                "MessageBody": msgspec.json.encode(job).decode(),
                "MessageGroupId": job.chatroom_id,
                "MessageDeduplicationId": job.id,
            },
        )
    except (BotoCoreError, ClientError) as error:
        log.warning("not queued", job_id=job.id, error=type(error).__name__)


def list_dead_letters(until: float) -> list[Job]:
    """Return the jobs of the dead letters that are received before `until` (monotonic clock).

    The letters stay in their queue for an operator.
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


def take_dead_letters(*, kept: bool) -> Iterator[str]:
    """Yield the body of each dead letter, and then delete that letter unless it is `kept`.

    Waits at most PATIENCE for letters that the sweep or an interrupted call has received.
    """
    queue, ends = setting("DEAD_LETTERS_QUEUE_URL"), time.monotonic() + PATIENCE
    taken: dict[str, str] = {}
    wait = 0
    while time.monotonic() < ends:
        asked = {"QueueUrl": queue, "MaxNumberOfMessages": 10, "VisibilityTimeout": TAKEN_FOR}
        received = _sqs.call("ReceiveMessage", {**asked, "WaitTimeSeconds": wait})
        letters = [one for one in received.get("Messages", []) if one["MessageId"] not in taken]
        for letter in letters:
            taken[letter["MessageId"]] = letter["ReceiptHandle"]
            yield letter["Body"]
            if not kept:
                _sqs.call(
                    "DeleteMessage", {"QueueUrl": queue, "ReceiptHandle": letter["ReceiptHandle"]}
                )
        if not letters and _count_dead_letters(queue) <= (len(taken) if kept else 0):
            break
        wait = 1
    if kept:
        for handle in taken.values():
            request = {"QueueUrl": queue, "ReceiptHandle": handle, "VisibilityTimeout": 0}
            _sqs.call("ChangeMessageVisibility", request)


def _count_dead_letters(queue: str) -> int:
    """Return the number of dead letters, including letters that a consumer has received."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    asked = {"QueueUrl": queue, "AttributeNames": names}
    found = _sqs.call("GetQueueAttributes", asked)["Attributes"]
    return sum(int(found[name]) for name in names)


def is_reachable() -> bool:
    """Return whether the queues are reachable. Raises botocore's errors."""
    for name in QUEUES.values():
        asked = {"QueueUrl": setting(name), "AttributeNames": ["ApproximateNumberOfMessages"]}
        _sqs.call("GetQueueAttributes", asked)
    return True


def read(body: str) -> Job:
    """Return the job in the body of a queue message. Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=Job)


def choose_queue(arn: str) -> str:
    """Return the URL of the queue with this ARN."""
    pro = setting(QUEUES[Plan.PRO])
    is_pro = arn.rpartition(":")[2] == pro.rpartition("/")[2]
    return pro if is_pro else setting(QUEUES[Plan.BASIC])


class Delivery:
    """The messages of one invocation, hidden from other workers until each is done or postponed.

    The queue's own visibility timeout must be longer than the function's timeout, and would hide a
    dead worker's messages for minutes. Instead, a thread hides them for a short time, again and
    again.
    """

    def __init__(self, queue_url: str, receipt_handles: Mapping[str, str]) -> None:
        """Store the queue's URL, and each message's receipt handle by message id."""
        self._queue_url = queue_url
        self._held = dict(receipt_handles)
        self._lock = Lock()
        self._ended = Event()
        self._thread = Thread(target=self._keep_hidden, name="visibility", daemon=True)
        self.postponed: list[str] = []
        """The ids of the messages that SQS must deliver again."""

    def __enter__(self) -> Self:
        """Start the thread that hides the messages."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread that hides the messages."""
        self._ended.set()
        self._thread.join()

    def delete(self, message_id: str) -> None:
        """Delete a message that is done, so that SQS delivers the next one of its group.

        If the call fails, Lambda deletes the message when the function returns.
        """
        handle = self._held.pop(message_id)
        request = {"QueueUrl": self._queue_url, "ReceiptHandle": handle}
        try:
            _sqs.call("DeleteMessage", request)
        except (BotoCoreError, ClientError) as error:
            log.warning("not deleted", sqs_message_id=message_id, error=type(error).__name__)

    def postpone(self, message_id: str, seconds: int) -> None:
        """Hide a message for `seconds`; SQS delivers it again after that."""
        self.postponed.append(message_id)
        with self._lock:  # the thread must not replace the pause
            self._hide({message_id: self._held.pop(message_id)}, seconds)

    def _keep_hidden(self) -> None:
        while True:
            with self._lock:
                self._hide(dict(self._held), HIDDEN_FOR)
            if self._ended.wait(HEARTBEAT):
                return

    def _hide(self, handles: Mapping[str, str], seconds: int) -> None:
        """Hide up to ten messages in one call; an invocation has no more than ten."""
        if not handles:
            return
        entries = [
            {"Id": message_id, "ReceiptHandle": handle, "VisibilityTimeout": seconds}
            for message_id, handle in handles.items()
        ]
        request = {"QueueUrl": self._queue_url, "Entries": entries}
        try:
            failed = _sqs.call("ChangeMessageVisibilityBatch", request).get("Failed", ())
        except (BotoCoreError, ClientError) as error:
            log.warning("not hidden", sqs_message_ids=list(handles), error=type(error).__name__)
            return
        for one in failed:
            log.warning("not hidden", sqs_message_ids=[one["Id"]], error=one["Code"])


def send_dead_letter(job: Job, reason: str) -> None:
    """Send a job to the dead-letter queue, with the reason for the operator."""
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
