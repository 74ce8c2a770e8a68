"""Schedule rate(1 minute): bring to its end what no queue message would.

Prompts that were stored but never queued are queued; those that outlived their retries, and those
among the dead letters, are failed and given back; the messages of deleted rooms are deleted.
"""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from geminichat import config, metrics, startup  # noqa: F401
from geminichat.clients import prompt_queue
from geminichat.clients.prompt_queue import Job
from geminichat.domain import ids, retries, times
from geminichat.domain.messages import UNAVAILABLE
from geminichat.domain.retries import Verdict
from geminichat.operations import answer_prompt, delete_room
from geminichat.operations.answer_prompt import LeaseLost
from geminichat.runtime import log
from geminichat.tables import messages
from geminichat.upstash import prompt_limits

MARGIN = 10.0
"""Seconds at the end of the invocation in which nothing further is begun."""


def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Return how many prompts were queued and failed, and how many rooms purged."""
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN
    return sweep(times.now(), until)


def sweep(now: datetime, until: float) -> dict[str, int]:
    """Do one generation of it as of `now`; begin nothing after `until` (monotonic clock).

    What goes wrong with one prompt is logged and holds up no other. Dead letters get a quarter of
    the time, since they stay where they are and may be many; rooms are purged last, since one may
    take all the time there is.
    """
    done = dict.fromkeys(Verdict, 0)
    purged = 0
    began = time.monotonic()
    with _apart():
        for letter in prompt_queue.dead_letters(began + (until - began) / 8):
            if time.monotonic() > began + (until - began) / 4:
                break
            with _apart(letter):
                done[_end_letter(letter, now)] += 1

    deleted: list[str] = []
    pause = timedelta(seconds=config.number("SWEEP_AFTER"))
    for shard in random.sample(range(messages.SHARDS), messages.SHARDS):
        with _apart():
            for chatroom_id, seq in answer_prompt.unfinished(shard, now - pause):
                if time.monotonic() > until:
                    break
                if seq == 0:
                    deleted.append(chatroom_id)
                    continue
                with _apart(Job(chatroom_id=chatroom_id, seq=seq)):
                    done[_bring_on(chatroom_id, seq, now, pause)] += 1

    for chatroom_id in deleted:
        with _apart():
            purged += delete_room.purge(chatroom_id, until)

    counts = {
        "queued": done[Verdict.QUEUE],
        "failed": done[Verdict.FAIL],
        "purged": purged,
    }
    if any(counts.values()):
        log.warning("swept", **counts)
    return counts


@contextmanager
def _apart(job: Job | None = None) -> Iterator[None]:
    """Log what goes wrong in the block, and go on after it."""
    try:
        yield
    except Exception:
        log.exception("not swept", job_id=job.id if job else None)
        metrics.emit(WorkerErrors=1)


def _end_letter(letter: Job, now: datetime) -> Verdict:
    """Fail the prompt of a dead letter, unless it ended or was tried anew in the meantime."""
    waiting = answer_prompt.find_waiting(letter.chatroom_id, letter.seq)
    if waiting and waiting.generation == letter.generation and _fail(letter, now):
        return Verdict.FAIL
    return Verdict.WAIT


def _bring_on(chatroom_id: str, seq: int, now: datetime, pause: timedelta) -> Verdict:
    waiting = answer_prompt.find_waiting(chatroom_id, seq)
    if waiting is None:
        return Verdict.WAIT
    verdict = retries.verdict(
        sent=waiting.sent,
        attempts=waiting.attempts,
        leased_until=waiting.leased_until,
        max_attempts=config.number("MAX_ATTEMPTS"),
        now=now,
    )
    job = Job(
        chatroom_id=chatroom_id,
        seq=seq,
        generation=waiting.generation,
        again=waiting.requeued + 1,
    )
    if verdict is Verdict.FAIL and not _fail(job, now):
        return Verdict.WAIT
    if verdict is Verdict.QUEUE:
        if not answer_prompt.look_again(chatroom_id, seq, waiting, now, pause):
            return Verdict.WAIT
        prompt_queue.send(job)
        metrics.emit(PromptsRequeued=1)
    return verdict


def _fail(job: Job, now: datetime) -> bool:
    """Fail a prompt that no worker holds, and say whether that was this call's doing."""
    claimed = answer_prompt.claim(
        job.chatroom_id, job.seq, ids.new("l"), now, timedelta(seconds=30)
    )
    if claimed is None:
        return False
    try:
        answer_prompt.fail(claimed, UNAVAILABLE)
    except LeaseLost:
        return False
    metrics.emit(PromptsFailed=1)
    if claimed.counted_on:
        prompt_limits.given_back(claimed.user_id, claimed.counted_on)
    log.error("prompt given up", chatroom_id=job.chatroom_id, job_id=job.id)
    return True
