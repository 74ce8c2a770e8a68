"""SQS PromptsQueue: answer each prompt by Gemini, once, in the order of its room.

A batch's groups, one per room, run in parallel, each in its own order. A prompt that must wait
stays in the queue until its pause is over, and so do the later prompts of its room.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import groupby
from typing import Any

import msgspec

from geminichat import config, metrics
from geminichat.clients import gemini, prompt_queue
from geminichat.clients.prompt_queue import Job
from geminichat.domain import history, ids, retries, times
from geminichat.domain.messages import NO_TOKENS, UNAVAILABLE, Failure, Reply, TokenUsage
from geminichat.domain.models import Thinking
from geminichat.errors import Contended
from geminichat.operations import answer_prompt
from geminichat.operations.answer_prompt import LeaseLost
from geminichat.runtime import log
from geminichat.tables import messages
from geminichat.tables.messages import LeasedPrompt

MARGIN = 10.0
"""Seconds of the invocation's time that are reserved for the work after Gemini's answer."""

type Record = dict[str, Any]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Return the messages to deliver again (a partial batch failure)."""
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000
    records = sorted(event["Records"], key=_group)  # stable: a group's order is preserved
    groups = [list(group) for _, group in groupby(records, key=_group)]
    with ThreadPoolExecutor(max_workers=max(1, len(groups))) as pool:
        failed = list(pool.map(lambda group: answer_in_order(group, deadline), groups))
    ids_to_deliver = [message_id for group in failed for message_id in group]
    return {"batchItemFailures": [{"itemIdentifier": one} for one in ids_to_deliver]}


def _group(record: Record) -> str:
    return str(record["attributes"]["MessageGroupId"])


def answer_in_order(records: Sequence[Record], deadline: float) -> list[str]:
    """Answer one room's prompts; return the message ids to deliver again, in order.

    All prompts after one that must wait are hidden for as long, so that none overtakes it.
    """
    for index, record in enumerate(records):
        pause = _answer(record, deadline, first=index == 0)
        if pause is None:
            continue
        for waiting in records[index:]:
            _postpone(waiting, pause)
        return [str(waiting["messageId"]) for waiting in records[index:]]
    return []


def _postpone(record: Record, pause: int) -> None:
    try:
        prompt_queue.postpone(record["receiptHandle"], pause)
    except Exception as error:
        log.warning("not postponed", error=type(error).__name__)


def _answer(record: Record, deadline: float, *, first: bool) -> int | None:
    """Answer or fail one prompt and return None, or return the seconds until its next attempt.

    Except for a room's first prompt, an attempt is only started if Gemini can have its full time.
    """
    try:
        job = prompt_queue.read(record["body"])
    except msgspec.DecodeError:
        log.error("not a job", sqs_message_id=record["messageId"])
        return None
    timeout = config.number("GEMINI_TIMEOUT")
    left = deadline - time.monotonic() - MARGIN
    if left < (1 if first else timeout):
        return 0
    try:
        return _answer_job(job, min(left, timeout), deadline)
    except LeaseLost:
        log.warning("lease lost", **_names(job))
        return None
    except Exception as error:
        log.exception("attempt failed", **_names(job))
        if not isinstance(error, Contended):  # which requests of the user can cause
            metrics.emit(WorkerErrors=1)
        received = int(record["attributes"].get("ApproximateReceiveCount", "1"))
        return retries.pause(received, config.number("RETRY_PAUSE"), None, random.random())


def _answer_job(job: Job, seconds: float, deadline: float) -> int | None:
    duration = timedelta(seconds=max(0.0, deadline - time.monotonic()))
    prompt = messages.lease_prompt(job.chatroom_id, job.seq, ids.new("l"), times.now(), duration)
    if prompt is None:
        return messages.find_wait(job.chatroom_id, job.seq, times.now())
    if prompt.attempts > config.number("MAX_ATTEMPTS"):
        _send_dead_letter(prompt, UNAVAILABLE, "every attempt broke off")
        return None
    try:
        return _answer_leased(prompt, seconds)
    except LeaseLost:
        raise
    except Exception:
        messages.release_prompt(prompt)  # or the next attempt would wait for the lease to end
        raise


def _answer_leased(prompt: LeasedPrompt, seconds: float) -> int | None:
    start = time.monotonic()
    try:
        reply = _ask(prompt, seconds)
    except gemini.GeminiError as error:
        return _retry_or_fail(prompt, error)
    seconds_taken = time.monotonic() - start
    now = times.now()
    answer_prompt.answer(prompt, reply, now)
    log.info("prompt answered", **_names(prompt), attempt=prompt.attempts, model=reply.model)
    metrics.emit(
        PromptsAnswered=1,
        InputTokens=reply.tokens.input_tokens,
        OutputTokens=reply.tokens.output_tokens,
        GeminiSeconds=seconds_taken,
        ReplySeconds=(now - prompt.sent).total_seconds(),
    )
    return None


def _ask(prompt: LeasedPrompt, seconds: float) -> Reply:
    """Return the reply of the prompt's model, or of its replacement if Google retired the model."""
    deadline = time.monotonic() + seconds
    turns = config.number("HISTORY_TURNS")
    past = []
    if turns and prompt.seq > 1:
        past = messages.read_past_turns(prompt.chatroom_id, prompt.seq, turns, prompt.hidden)
    past = history.select_turns(past, config.number("HISTORY_CHARACTERS"))

    catalogue = config.catalogue()
    model = catalogue.serving(prompt.model, times.now().date())
    while True:
        question = gemini.Question(
            model=model.id,
            prompt=prompt.content,
            past=past,
            system_instruction=prompt.system_instruction,
            thinking=model.nearest_thinking(prompt.thinking),
            max_output_tokens=prompt.max_output_tokens,
        )
        whole = max(1.0, deadline - time.monotonic())
        try:
            return gemini.generate(question, silence=config.number("GEMINI_SILENCE"), whole=whole)
        except gemini.Retired as error:
            replacement = catalogue.replacement(model)
            if replacement is None:
                raise
            log.warning(
                "model retired", reason=str(error), model=model.id, replacement=replacement.id
            )
            model = replacement


def _retry_or_fail(prompt: LeasedPrompt, error: gemini.GeminiError) -> int | None:
    """Return the seconds until the next attempt, or fail the prompt and return None."""
    log.warning(
        "gemini failed",
        **_names(prompt),
        error=type(error).__name__,
        reason=str(error),
        attempt=prompt.attempts,
    )
    if isinstance(error, gemini.Refused):
        metrics.emit(GeminiRefusals=1)
    elif isinstance(error, gemini.Unavailable | gemini.Silent | gemini.TooSlow):
        metrics.emit(GeminiFailures=1)
    tokens = error.tokens or NO_TOKENS
    less = Thinking.MINIMAL if isinstance(error, gemini.Silent) else None
    max_attempts = min(config.number("MAX_ATTEMPTS"), error.max_attempts)
    if prompt.attempts < max_attempts and answer_prompt.release(prompt, tokens, less):
        first = config.number("RETRY_PAUSE")
        return retries.pause(prompt.attempts, first, error.after, random.random())
    if isinstance(error, gemini.Refused):
        _send_dead_letter(prompt, error.failure, type(error).__name__, tokens)
    else:
        answer_prompt.fail(prompt, error.failure, times.now(), tokens)
    return None


def _send_dead_letter(
    prompt: LeasedPrompt, failure: Failure, reason: str, tokens: TokenUsage = NO_TOKENS
) -> None:
    """Fail a prompt that a redrive may answer later."""
    answer_prompt.fail(prompt, failure, times.now(), tokens)
    log.error("prompt given up", **_names(prompt), reason=reason)
    prompt_queue.send_dead_letter(
        Job(chatroom_id=prompt.chatroom_id, seq=prompt.seq, generation=prompt.generation), reason
    )


def _names(prompt: Job | LeasedPrompt) -> dict[str, str]:
    message_id = ids.message_id(prompt.chatroom_id, prompt.seq)
    return {"chatroom_id": prompt.chatroom_id, "message_id": message_id}
