"""make admin: queue failed prompts again once the cause is fixed, and remove dead letters.

Prompts are queued again if they failed because Gemini was unavailable, the model was retired or
Gemini refused this service. They do not count against the daily quota again. An audit item for the
whole act is stored first. Then each prompt has its own transaction, which changes the prompt and
stores an audit item for its user. The command may be repeated at any time.
"""

import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from geminichat.administration import DONE_BEFORE, Outcome, performs
from geminichat.clients import prompt_queue
from geminichat.clients.prompt_queue import Job
from geminichat.domain import ids
from geminichat.domain.acts import Redrive
from geminichat.domain.messages import REDRIVABLE, Status
from geminichat.runtime import clock
from geminichat.tables import audit
from geminichat.tables.messages import prompts
from geminichat.tables.table import transact_if

LONGEST = 800.0
"""Seconds after which no further prompt is handled, so that the function does not time out."""
SHOWN = 1_000
"""The maximum number of prompts that the outcome lists; its counts include all prompts."""

DONE = {
    "queued": "queued again",
    "waiting": "not queued: it has not ended, and the sweep recovers it",
    "ended": "not queued: it was answered, retried or deleted, or failed for another reason",
    "foreign": "removed: the dead letter names no prompt",
}
"""The text for each outcome of a prompt."""


class Redriven(Outcome, frozen=True, kw_only=True):
    """The outcome of the act: a line per prompt, and the number of prompts per outcome."""

    lines: Sequence[str] = ()
    counts: Mapping[str, int] = {}


@performs(Redrive)
def handler(act: Redrive, operator: str, now: datetime) -> Redriven:
    """Redrive the prompts that failed for the act's reason in the last `act.hours` hours."""
    if not act.dry_run and not transact_if(audit.put_act(act, operator, now)):
        return Redriven(message=DONE_BEFORE.message, done_before=True)
    until = time.monotonic() + LONGEST
    lines: list[str] = []
    done: Counter[str] = Counter()
    queued: Counter[str] = Counter()
    is_complete = True
    for name, outcome, reason in _redrive_all(act, operator, now):
        done[outcome] += 1
        queued[reason] += outcome == "queued"
        if len(lines) < SHOWN:
            lines.append(f"{name}: {DONE[outcome]}")
        if time.monotonic() > until:
            is_complete = False
            break
    message = _summary(done, queued) if done else "Nothing to redrive."
    if not is_complete:
        message += " More prompts are left: run the command again."
    return Redriven(message=message, lines=lines, counts=dict(done))


def _summary(done: Counter[str], queued: Counter[str]) -> str:
    counts = ", ".join(f"{reason} {count}" for reason, count in sorted(queued.items()) if count)
    summary = f"{done['queued']} of {done.total()} queued again"
    return f"{summary}: {counts}." if counts else f"{summary}."


def _redrive_all(act: Redrive, operator: str, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Yield the id, the outcome and the failure code of each prompt."""
    reasons = {act.failure} if act.failure else set(REDRIVABLE)
    seen: set[tuple[str, int]] = set()
    for letter in prompt_queue.take_dead_letters(kept=act.dry_run):
        try:
            job = prompt_queue.read(letter)
        except msgspec.DecodeError:
            yield repr(letter[:100]), "foreign", ""
            continue
        seen.add((job.chatroom_id, job.seq))
        yield job.prompt_id, *_redrive(act, operator, job.chatroom_id, job.seq, reasons)
    since = now - timedelta(hours=act.hours)
    for code in sorted(reasons):
        for room_id, seq in list(prompts.list_failed(code, since)):
            if (room_id, seq) not in seen:
                name = ids.message_id(room_id, seq)
                yield name, *_redrive(act, operator, room_id, seq, reasons)


def _redrive(
    act: Redrive, operator: str, chatroom_id: str, seq: int, reasons: set[str]
) -> tuple[str, str]:
    """Queue a failed prompt again; return the outcome and the failure code."""
    prompt = prompts.find(chatroom_id, seq)
    if prompt and prompt.unfinished_since:
        return "waiting", ""
    if prompt is None or prompt.status != Status.FAILED or prompt.error_code not in reasons:
        return "ended", ""
    if not act.dry_run:
        generation, now = secrets.token_hex(4), clock.now()
        prompt_id, reason = ids.message_id(chatroom_id, seq), prompt.error_code
        if not transact_if(
            prompts.redrive_prompt(prompt, generation, now),
            audit.put_redriven_prompt(act, operator, prompt.user_id, prompt_id, reason, now),
        ):
            return "ended", ""
        prompt_queue.send(Job(chatroom_id=chatroom_id, seq=seq, generation=generation))
    return "queued", prompt.error_code
