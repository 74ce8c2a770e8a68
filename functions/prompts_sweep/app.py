"""Schedule rate(1 minute): recover prompts with a lost queue message, and purge deleted rooms.

Prompts that were never queued are queued. Prompts that used up their retries, or are in the
dead-letter queue, are failed and refunded. If a worker died before it stopped a prompt, the prompt
is stopped. Messages of deleted rooms are deleted.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from geminichat import config, metrics
from geminichat.clients import prompt_queue
from geminichat.clients.prompt_queue import Job
from geminichat.domain import ids, retries
from geminichat.domain.messages import UNAVAILABLE
from geminichat.domain.retries import Verdict
from geminichat.operations import finish_prompt, purge_room
from geminichat.runtime import clock, log
from geminichat.tables import usage
from geminichat.tables.messages import leases, stored, tombstones, unfinished
from geminichat.tables.messages.leases import LeaseLost

MARGIN = 10.0
"""Seconds before the end of the invocation: from then on, nothing new is started."""


def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Return the numbers of prompts queued and failed, and of rooms purged."""
    until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN
    return sweep(clock.now(), until)


def sweep(now: datetime, until: float) -> dict[str, int]:
    """Sweep once as of `now`; start nothing after `until` (monotonic clock).

    An error with one prompt is logged and does not delay other prompts. Dead letters, which may be
    many, get a quarter of the time; the next sweep continues. Rooms are purged last, since one room
    may take all the time that is left.
    """
    counts = dict.fromkeys(Verdict, 0)
    purged = 0
    start = time.monotonic()
    with _log_errors():
        for letter in prompt_queue.list_dead_letters(start + (until - start) / 8):
            if time.monotonic() > start + (until - start) / 4:
                break
            with _log_errors(letter):
                counts[_fail_dead_letter(letter, now)] += 1

    with _log_errors():
        metrics.emit(SpendingShare=usage.read_stage_share(now))

    deleted_rooms: list[str] = []
    pause = timedelta(seconds=config.number("SWEEP_AFTER"))
    for shard in random.sample(range(stored.SHARDS), stored.SHARDS):
        with _log_errors():
            for chatroom_id, seq in unfinished.list_unfinished(shard, now - pause):
                if time.monotonic() > until:
                    break
                if seq == tombstones.TOMBSTONE_SEQ:
                    deleted_rooms.append(chatroom_id)
                    continue
                with _log_errors(Job(chatroom_id=chatroom_id, seq=seq)):
                    counts[_recover(chatroom_id, seq, now, pause)] += 1

    for chatroom_id in deleted_rooms:
        with _log_errors():
            purged += purge_room.purge(chatroom_id, now, until)

    done = {"queued": counts[Verdict.QUEUE], "failed": counts[Verdict.FAIL], "purged": purged}
    if any(done.values()):
        log.warning("swept", **done)
    return done


@contextmanager
def _log_errors(job: Job | None = None) -> Iterator[None]:
    """Log an error of the block and continue after it."""
    try:
        yield
    except Exception:
        log.exception("not swept", job_id=job.id if job else None)
        metrics.emit(WorkerErrors=1)


def _fail_dead_letter(letter: Job, now: datetime) -> Verdict:
    """Fail the prompt of a dead letter, unless the prompt is final or was retried since."""
    prompt = unfinished.find_unfinished(letter.chatroom_id, letter.seq)
    if prompt and prompt.generation == letter.generation and _end(letter, now):
        return Verdict.FAIL
    return Verdict.WAIT


def _recover(chatroom_id: str, seq: int, now: datetime, pause: timedelta) -> Verdict:
    """Queue an unfinished prompt again, stop it or fail it, and return the decision."""
    prompt = unfinished.find_unfinished(chatroom_id, seq)
    if prompt is None:
        return Verdict.WAIT
    verdict = retries.decide(
        sent=prompt.sent,
        attempts=prompt.attempts,
        leased_until=prompt.leased_until,
        stop=prompt.stop,
        max_attempts=config.number("MAX_ATTEMPTS"),
        now=now,
    )
    job = Job(
        chatroom_id=chatroom_id,
        seq=seq,
        generation=prompt.generation,
        again=prompt.requeued + 1,
        plan=prompt.plan,
    )
    if verdict in (Verdict.FAIL, Verdict.STOP) and not _end(job, now):
        return Verdict.WAIT
    if verdict is Verdict.QUEUE:
        if not unfinished.note_requeue(prompt, now, pause):
            return Verdict.WAIT
        prompt_queue.send(job)
        metrics.emit(PromptsRequeued=1)
    return verdict


def _end(job: Job, now: datetime) -> bool:
    """Stop or fail a prompt that no worker has leased, and return whether this call ended it."""
    prompt = leases.lease_prompt(job.chatroom_id, job.seq, ids.new("l"), now, timedelta(seconds=30))
    if prompt is None:
        return False
    try:
        if prompt.stop:
            finish_prompt.stop(prompt, clock.now())
            return True
        finish_prompt.fail(prompt, UNAVAILABLE, clock.now())
    except LeaseLost:
        return False
    log.error("prompt given up", chatroom_id=job.chatroom_id, job_id=job.id)
    return True
