"""SQS PromptsQueue: have each prompt answered by Gemini, once, in the order of its room.

The groups of a batch, one a room, run side by side, each in its own order. A prompt that has to
wait stays on the queue for the length of its pause, and what follows it in its room with it.
"""

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import groupby
from typing import Any

import msgspec

from geminichat import config, metrics, startup  # noqa: F401
from geminichat.clients import gemini, prompt_queue
from geminichat.clients.prompt_queue import Job
from geminichat.domain import history, ids, retries, times
from geminichat.domain.messages import UNAVAILABLE, Failure
from geminichat.operations import answer_prompt
from geminichat.operations.answer_prompt import Claimed, LeaseLost
from geminichat.runtime import log
from geminichat.upstash import prompt_limits

MARGIN = 10.0
"""Seconds kept back from the invocation's time for what follows Gemini's answer."""

type Record = dict[str, Any]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Return the messages that are to come again (a partial batch failure)."""
    ends = time.monotonic() + context.get_remaining_time_in_millis() / 1000
    records = sorted(event["Records"], key=_group)  # a stable sort: order within a group is kept
    groups = [list(group) for _, group in groupby(records, key=_group)]
    with ThreadPoolExecutor(max_workers=max(1, len(groups))) as pool:
        kept = list(pool.map(lambda group: answer_in_order(group, ends), groups))
    return {"batchItemFailures": [{"itemIdentifier": one} for some in kept for one in some]}


def _group(record: Record) -> str:
    return str(record["attributes"]["MessageGroupId"])


def answer_in_order(records: Sequence[Record], ends: float) -> list[str]:
    """Answer one room's prompts; return the ids of those to come again, from the first on.

    What follows a prompt that has to wait is put off as long: it would overtake it otherwise.
    """
    for place, record in enumerate(records):
        pause = _answer(record, ends, first=place == 0)
        if pause is None:
            continue
        for waiting in records[place:]:
            _postpone(waiting, pause)
        return [str(waiting["messageId"]) for waiting in records[place:]]
    return []


def _postpone(record: Record, pause: int) -> None:
    try:
        prompt_queue.postpone(record["receiptHandle"], pause)
    except Exception as error:
        log.warning("not postponed", error=type(error).__name__)


def _answer(record: Record, ends: float, *, first: bool) -> int | None:
    """Bring one prompt to its end and return None, or the seconds after which to try again.

    But for a room's first, a prompt that Gemini could not be given its full time for is put back:
    no attempt is wasted on it.
    """
    try:
        job = prompt_queue.read(record["body"])
    except msgspec.DecodeError:
        log.error("not a job", sqs_message_id=record["messageId"])
        return None
    timeout = config.number("GEMINI_TIMEOUT")
    left = ends - time.monotonic() - MARGIN
    if left < (1 if first else timeout):
        return 0
    try:
        return _answer_job(job, min(left, timeout), ends)
    except LeaseLost:
        log.warning("lease lost", **_names(job))
        return None
    except Exception:
        log.exception("attempt failed", **_names(job))
        metrics.emit(WorkerErrors=1)
        received = int(record["attributes"].get("ApproximateReceiveCount", "1"))
        return retries.pause(received, config.number("RETRY_PAUSE"), None, random.random())


def _answer_job(job: Job, seconds: float, ends: float) -> int | None:
    lasting = timedelta(seconds=max(0.0, ends - time.monotonic()))
    claimed = answer_prompt.claim(job.chatroom_id, job.seq, ids.new("l"), times.now(), lasting)
    if claimed is None:
        return answer_prompt.wait_for(job.chatroom_id, job.seq, times.now())
    if claimed.attempts > config.number("MAX_ATTEMPTS"):
        _give_up(claimed, "every attempt broke off")
        return None
    try:
        return _answer_claimed(claimed, seconds)
    except LeaseLost:
        raise
    except Exception:
        answer_prompt.release(claimed)  # it would have to wait for the end of the lease otherwise
        raise


def _answer_claimed(claimed: Claimed, seconds: float) -> int | None:
    began = time.monotonic()
    try:
        reply = _ask(claimed, seconds)
    except gemini.GiveUp as error:
        _fail(claimed, error.failure)
        log.info("prompt failed", **_names(claimed), reason=error.failure.code)
        return None
    except gemini.TryAgain as error:
        log.warning("gemini failed", **_names(claimed), reason=str(error), attempt=claimed.attempts)
        metrics.emit(GeminiFailures=1)
        if claimed.attempts >= config.number("MAX_ATTEMPTS"):
            _give_up(claimed, str(error))
            return None
        answer_prompt.release(claimed)
        first = config.number("RETRY_PAUSE")
        return retries.pause(claimed.attempts, first, error.after, random.random())
    took = time.monotonic() - began
    now = times.now()
    answer_prompt.answer(claimed, reply.content, reply.tokens, now)
    log.info("prompt answered", **_names(claimed), attempt=claimed.attempts)
    metrics.emit(
        PromptsAnswered=1,
        InputTokens=reply.tokens.input_tokens,
        OutputTokens=reply.tokens.output_tokens,
        GeminiSeconds=took,
        ReplySeconds=(now - claimed.sent).total_seconds(),
    )
    return None


def _ask(claimed: Claimed, seconds: float) -> gemini.Reply:
    turns = config.number("HISTORY_TURNS")
    past = answer_prompt.history(claimed, turns) if turns and claimed.seq > 1 else []
    return gemini.generate(
        claimed.model,
        claimed.system_instruction,
        history.bounded(past, config.number("HISTORY_CHARACTERS")),
        claimed.content,
        timeout=seconds,
    )


def _fail(claimed: Claimed, failure: Failure) -> None:
    answer_prompt.fail(claimed, failure)
    metrics.emit(PromptsFailed=1)
    if claimed.counted_on:
        prompt_limits.given_back(claimed.user_id, claimed.counted_on)


def _give_up(claimed: Claimed, reason: str) -> None:
    _fail(claimed, UNAVAILABLE)
    log.error("prompt given up", **_names(claimed), reason=reason)
    prompt_queue.bury(
        Job(
            chatroom_id=claimed.chatroom_id,
            seq=claimed.seq,
            generation=claimed.generation,
        ),
        reason,
    )


def _names(prompt: Job | Claimed) -> dict[str, str]:
    message_id = ids.message_id(prompt.chatroom_id, prompt.seq)
    return {"chatroom_id": prompt.chatroom_id, "message_id": message_id}
