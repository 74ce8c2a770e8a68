"""SQS PromptsQueue and SQS ProPromptsQueue: answer each prompt once, in the order of its room.

The rooms of a batch are handled in parallel, and the prompts of a room one after the other. A
prompt that must wait stays in the queue until its pause is over, and so do the later prompts of its
room. A prompt's queue message is deleted as soon as the prompt has ended, so that no room waits for
another.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import random
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import groupby
from typing import Any

import msgspec

from geminichat import config, metrics
from geminichat.clients import prompt_queue
from geminichat.clients.prompt_queue import Delivery
from geminichat.domain import retries
from geminichat.errors import Contended
from geminichat.operations import answer_prompt
from geminichat.runtime import log
from geminichat.tables.messages.leases import LeaseLost

BACKGROUND = 100
"""The number of threads that show replies: a keeper and eight posters for each of ten prompts."""

type Record = dict[str, Any]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Return the queue messages to deliver again (a partial batch failure)."""
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000
    records = sorted(event["Records"], key=_group)  # stable: a group's order is preserved
    rooms = [list(group) for _, group in groupby(records, key=_group)]
    handles = {record["messageId"]: record["receiptHandle"] for record in records}
    queue_url = prompt_queue.choose_queue(event["Records"][0].get("eventSourceARN", ""))
    with (
        Delivery(queue_url, handles) as delivery,
        ThreadPoolExecutor(BACKGROUND) as background,
        ThreadPoolExecutor(max(1, len(rooms))) as pool,
    ):
        list(pool.map(lambda room: answer_in_order(room, delivery, background, deadline), rooms))
    return {"batchItemFailures": [{"itemIdentifier": one} for one in delivery.postponed]}


def _group(record: Record) -> str:
    return str(record["attributes"]["MessageGroupId"])


def answer_in_order(
    records: Sequence[Record], delivery: Delivery, background: Executor, deadline: float
) -> None:
    """Answer one room's prompts in order.

    If a prompt must wait, all later ones wait for the same time, so that none overtakes it.
    """
    for index, record in enumerate(records):
        pause = _answer(record, background, deadline, first=index == 0)
        if pause is not None:
            for waiting in records[index:]:
                delivery.postpone(waiting["messageId"], pause)
            return
        delivery.delete(record["messageId"])


def _answer(record: Record, background: Executor, deadline: float, *, first: bool) -> int | None:
    """Answer or fail one prompt; return the seconds until its next attempt, or None if it ended."""
    try:
        job = prompt_queue.read(record["body"])
    except msgspec.DecodeError:
        log.error("not a job", sqs_message_id=record["messageId"])
        return None
    try:
        return answer_prompt.answer(job, deadline, background, first=first)
    except LeaseLost:
        log.warning("lease lost", **answer_prompt.identify(job))
        return None
    except Exception as error:
        log.exception("attempt failed", **answer_prompt.identify(job))
        if not isinstance(error, Contended):  # the user's own requests can cause it
            metrics.emit(WorkerErrors=1)
        received = int(record["attributes"].get("ApproximateReceiveCount", "1"))
        return retries.pause(received, config.number("RETRY_PAUSE"), None, random.random())
