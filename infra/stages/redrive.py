"""Queue failed prompts again, once the cause is fixed: `make redrive`.

These are the prompts that failed because Gemini was unavailable, the model was retired or Gemini
refused this service. Each is queued as if it had just been sent, and is not counted a second time.
Dead letters are removed. It may be run at any time, and again after it was interrupted.
"""

import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import msgspec

from infra.stages import stage as stages
from infra.stages.command import command, parser

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

    from geminichat.clients.prompt_queue import Job

HIDDEN = 60
"""Seconds for which a received dead letter is hidden from other readers."""

PATIENCE = HIDDEN + 10.0
"""Seconds to wait for dead letters that the sweep or an interrupted run has received."""

DONE = {
    "queued": "queued again",
    "waiting": "left to the sweep, it has not ended",
    "ended": "not queued, it was answered, retried or deleted since, or failed for another reason",
    "foreign": "removed, it names no prompt",
}
"""The text to print for each outcome."""


@command
def main(arguments: list[str]) -> None:
    """Handle every dead letter and print the outcome of each."""
    known = parser("redrive", __doc__, local=True)
    known.add_argument("--dry-run", action="store_true", help="only print what would be done")
    known.add_argument("--reason", help="the code of the failure; without it, all of them")
    known.add_argument(
        "--hours", type=float, default=24, help="how long ago a prompt may have failed"
    )
    options = known.parse_args(arguments)
    stage = stages.connect(options.stage, options.data_folder)
    stages.set_environment(stage)
    since = datetime.now(UTC) - timedelta(hours=options.hours)
    redrive(print, reason=options.reason, since=since, dry_run=options.dry_run)


def redrive(
    show: Callable[[str], Any],
    *,
    reason: str | None = None,
    since: datetime | None = None,
    dry_run: bool = False,
    patience: float = PATIENCE,
) -> Counter[str]:
    """Queue failed prompts again, or only show them; return the number of each outcome.

    Dead letters that another reader has received are waited for, for `patience` seconds at most.
    """
    from geminichat.domain import ids
    from geminichat.domain.messages import REDRIVABLE
    from geminichat.tables.messages import prompts

    reasons = {reason} if reason else set(REDRIVABLE)
    since = since or datetime.now(UTC) - timedelta(hours=24)
    done: Counter[str] = Counter()
    queued: Counter[str] = Counter()

    def handle(chatroom_id: str, seq: int, name: str) -> None:
        outcome, why = _redrive(chatroom_id, seq, reasons, dry_run=dry_run)
        done[outcome] += 1
        queued[why] += outcome == "queued"
        show(f"{name}: {DONE[outcome]}")

    seen = set()
    for job in _dead_letters(show, done, patience, dry_run=dry_run):
        seen.add((job.chatroom_id, job.seq))
        handle(job.chatroom_id, job.seq, job.prompt_id)
    for code in sorted(reasons):
        for chatroom_id, seq in list(prompts.list_failed(code, since)):
            if (chatroom_id, seq) not in seen:
                handle(chatroom_id, seq, ids.message_id(chatroom_id, seq))

    total = sum(done.values())
    counts = ", ".join(f"{why} {count}" for why, count in sorted(queued.items()) if count)
    summary = f"{done['queued']} of {total} queued again" + (f": {counts}." if counts else ".")
    summary = summary if total else "Nothing to redrive."
    show(f"{summary} Nothing was changed." if dry_run else summary)
    return done


def _dead_letters(
    show: Callable[[str], Any], done: Counter[str], patience: float, *, dry_run: bool
) -> Iterator["Job"]:
    """Yield the job of each dead letter, and delete the letter after it unless `dry_run`."""
    from geminichat.clients.prompt_queue import read

    sqs = boto3.client("sqs")
    queue = os.environ["DEAD_LETTERS_QUEUE_URL"]
    received: list[str] = []
    for letter in _letters(queue, patience, kept=dry_run):
        try:
            yield read(letter["Body"])
        except msgspec.DecodeError:
            done["foreign"] += 1
            show(f"{letter['Body'][:100]!r}: {DONE['foreign']}")
        if dry_run:
            received.append(letter["ReceiptHandle"])
        else:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=letter["ReceiptHandle"])
    for handle in received:
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)


def _redrive(chatroom_id: str, seq: int, reasons: set[str], *, dry_run: bool) -> tuple[str, str]:
    """Queue a failed prompt again; return the outcome and the reason of the failure."""
    from geminichat.clients import prompt_queue
    from geminichat.tables.messages import prompts, unfinished

    if unfinished.find_unfinished(chatroom_id, seq):
        return "waiting", ""
    prompt = prompts.find_redrivable(chatroom_id, seq)
    if prompt is None or prompt.reason not in reasons:
        return "ended", ""
    if not dry_run:
        generation = secrets.token_hex(4)
        now = datetime.now(UTC)
        if not prompts.redrive_prompt(chatroom_id, seq, prompt.generation, generation, now):
            return "ended", ""
        prompt_queue.send(prompt_queue.Job(chatroom_id=chatroom_id, seq=seq, generation=generation))
    return "queued", prompt.reason


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
