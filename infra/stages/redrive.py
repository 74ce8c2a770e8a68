"""Queue the prompts in the dead-letter queue again, once the cause is fixed: `make redrive`.

A prompt that failed because Gemini was unreachable is queued as if it had just been sent, and is
not counted a second time. The dead letters of prompts that were answered, retried or deleted since
are removed. It may be run at any time, and again after it was interrupted.
"""

import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import msgspec

from infra.stages import stage as stages
from infra.stages.command import command, parser

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

HIDDEN = 60
"""Seconds for which a received dead letter is hidden from other readers."""

PATIENCE = HIDDEN + 10.0
"""Seconds to wait for dead letters that the sweep or an interrupted run has received."""

DONE = {
    "queued": "queued again",
    "waiting": "left to the sweep, it has not ended",
    "ended": "removed, it was answered, retried or deleted since",
    "foreign": "removed, it names no prompt",
}
"""What to print for each outcome."""


@command
def main(arguments: list[str]) -> None:
    """Handle every dead letter and print the outcome of each."""
    known = parser("redrive", __doc__, local=True)
    known.add_argument("--dry-run", action="store_true", help="only print what would be done")
    options = known.parse_args(arguments)
    stage = stages.connect(options.stage, options.data_folder)
    stages.set_environment(stage)
    redrive(print, dry_run=options.dry_run)


def redrive(
    show: Callable[[str], Any], *, dry_run: bool = False, patience: float = PATIENCE
) -> Counter[str]:
    """Handle every dead letter, or only show its outcome; return the number of each outcome.

    Dead letters that another reader has received are waited for, for `patience` seconds at most.
    """
    from geminichat.clients.prompt_queue import Job, read

    sqs = boto3.client("sqs")
    queue = os.environ["DEAD_LETTERS_QUEUE_URL"]
    done: Counter[str] = Counter()
    received: list[str] = []
    for letter in _letters(queue, patience, kept=dry_run):
        job: Job | None
        try:
            job = read(letter["Body"])
        except msgspec.DecodeError:
            job = None
        end = _end(job, dry_run=dry_run) if job else "foreign"
        done[end] += 1
        show(f"{job.prompt_id if job else repr(letter['Body'][:100])}: {DONE[end]}")
        if dry_run:
            received.append(letter["ReceiptHandle"])
        else:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=letter["ReceiptHandle"])
    for handle in received:
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
    total = sum(done.values())
    counted = "No dead letters." if not total else f"{done['queued']} of {total} queued again."
    show(f"{counted} Nothing was changed." if dry_run else counted)
    return done


def _end(job: Any, *, dry_run: bool) -> str:
    from geminichat.clients import prompt_queue
    from geminichat.tables import messages

    if messages.find_unfinished(job.chatroom_id, job.seq):
        return "waiting"
    if messages.find_unavailable(job.chatroom_id, job.seq) != job.generation:
        return "ended"
    if dry_run:
        return "queued"
    new_generation = secrets.token_hex(4)
    now = datetime.now(UTC)
    if not messages.requeue_unavailable(
        job.chatroom_id, job.seq, job.generation, new_generation, now
    ):
        return "ended"
    prompt_queue.send(
        prompt_queue.Job(chatroom_id=job.chatroom_id, seq=job.seq, generation=new_generation)
    )
    return "queued"


def _letters(queue: str, patience: float, *, kept: bool) -> Iterator["MessageTypeDef"]:
    """Yield each dead letter once; `kept`: the caller does not delete them."""
    sqs = boto3.client("sqs")
    seen: set[str] = set()
    deadline = time.monotonic() + patience
    while True:
        answer = sqs.receive_message(
            QueueUrl=queue,
            MaxNumberOfMessages=10,
            VisibilityTimeout=HIDDEN,
            WaitTimeSeconds=1 if patience else 0,
        )
        letters = [one for one in answer.get("Messages", []) if one["MessageId"] not in seen]
        for letter in letters:
            seen.add(letter["MessageId"])
            yield letter
        if letters:
            continue
        counts = sqs.get_queue_attributes(
            QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )["Attributes"]
        hidden = int(counts["ApproximateNumberOfMessagesNotVisible"])
        others = hidden - (len(seen) if kept else 0)
        if others <= 0 or time.monotonic() > deadline:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
