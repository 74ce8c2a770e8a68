"""Move dead letters back, once what failed them is mended: `make redrive`.

A prompt that failed because Gemini could not be reached is queued again, as if it had just been
sent, and not counted a second time. Letters of prompts that were answered, retried or deleted in
the meantime are removed. Safe to run at any time, and again after it broke off.
"""

import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import msgspec

from infra import template
from infra.local.cloud import stack
from infra.paths import Home
from infra.stages import stage as stages
from infra.stages.command import command, parser

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef

HIDDEN = 60
"""Seconds for which a letter is ours once it was received."""

PATIENCE = 40.0
"""Seconds to wait for letters that the sweep is looking at: it lets go of them after thirty."""

DONE = {
    "queued": "queued again",
    "waiting": "left to the sweep, it has not ended",
    "ended": "removed, it was answered, retried or deleted since",
    "foreign": "removed, it names no prompt",
}


@command
def main(arguments: list[str]) -> None:
    """Move every dead letter back and say what became of each."""
    wanted = parser("redrive", __doc__, local=True)
    wanted.add_argument("--dry-run", action="store_true", help="only say what would be done")
    options = wanted.parse_args(arguments)
    local = options.stage == "local"
    names = _local(Home(options.home)) if local else _on_aws(options.stage)
    os.environ.update(settings(names))
    redrive(print, dry_run=options.dry_run)


def settings(names: Mapping[str, str]) -> dict[str, str]:
    """Return the functions' settings that name a resource, from the resources' names or URLs."""
    declared = template.settings(template.load())
    named = {setting: value.get("Ref") for setting, value in declared.items() if "Ref" in value}
    return {setting: names[ref] for setting, ref in named.items() if ref in names}


def _local(home: Home) -> dict[str, str]:
    running = stack.running(home)
    os.environ |= {
        "AWS_ENDPOINT_URL": running.aws.endpoint_url,
        "AWS_REGION": running.aws.region,
        "AWS_DEFAULT_REGION": running.aws.region,
        "AWS_ACCESS_KEY_ID": running.aws.access_key_id,
        "AWS_SECRET_ACCESS_KEY": running.aws.secret_access_key,
    }
    urls = {name: queue.url for name, queue in running.queues.items()}
    return {**running.tables, **urls, "Stage": running.stage}


def _on_aws(name: str) -> dict[str, str]:
    stage = stages.read(name)
    print(f"{stage.stack} in {stages.account()}")
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources")
    names = {
        resource["LogicalResourceId"]: resource.get("PhysicalResourceId", "")
        for page in pages.paginate(StackName=stage.stack)
        for resource in page["StackResourceSummaries"]
    }
    return {**names, "Stage": name}


def redrive(
    show: Callable[[str], Any], *, dry_run: bool = False, patience: float = PATIENCE
) -> Counter[str]:
    """Move every dead letter back, or only say so; return how many came to which end.

    Letters that someone else is looking at are waited for, `patience` seconds at most.
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
    """Give each letter once; `kept` says that they are not deleted when they were given."""
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
