"""Send a prompt or retry a failed one: admit it, store and count it at once, and queue it."""

import math
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from geminichat import config, metrics
from geminichat.clients import prompt_queue
from geminichat.clients.prompt_queue import Job
from geminichat.domain import ids, spending, times
from geminichat.domain.messages import Message, NewPrompt, Status, fingerprint
from geminichat.domain.plans import Plan
from geminichat.domain.quota import Allowance, Limit
from geminichat.domain.sessions import ENDED, Claims
from geminichat.domain.spending import Reservation
from geminichat.errors import (
    Contended,
    IdentityNotProven,
    KeyInUse,
    KeyReused,
    NotFailed,
    NotFound,
    StageLimit,
    TooManyRequests,
    Unauthorized,
)
from geminichat.tables import chatrooms, idempotency_keys, messages, subscriptions, usage, users
from geminichat.tables.chatrooms import Turn
from geminichat.tables.table import ConditionsFailed, Write, transact
from geminichat.upstash import prompt_limits, room_list_cache

if TYPE_CHECKING:
    from geminichat.domain.models import Choice


class SentPrompt(msgspec.Struct, frozen=True):
    """A stored prompt, its job, and the headers that report the limits."""

    message: Message
    job_id: str
    headers: Mapping[str, str]


def send(
    caller: Claims, room_id: str, prompt: NewPrompt, idempotency_key: str | None, now: datetime
) -> SentPrompt:
    """Store, count and queue a prompt, once per idempotency key.

    Raises NotFound, TooManyRequests, KeyInUse, KeyReused, and Unauthorized if the session has
    ended.
    """
    user_id = caller.user_id
    if idempotency_key:
        stored = _find_stored(caller, room_id, prompt, idempotency_key, now)
        if stored:
            return _queue(room_id, stored, messages.FIRST, {"idempotency-replayed": "true"})

    allowance = _admit(user_id, now, room_list_cache.activity_notice(room_id, now))
    try:
        turn = chatrooms.take_turn(user_id, room_id, now)

        def write(choice: "Choice", reservation: Reservation) -> list[Write]:
            writes = [messages.put_prompt(turn, prompt.content, choice, reservation, now)]
            if idempotency_key:
                digest = fingerprint(room_id, prompt.content)
                writes.append(idempotency_keys.put_key(idempotency_key, digest, turn, now))
            return writes

        allowance = _store(caller, allowance, turn, prompt.content, write)
    except Exception as error:
        _take_back(allowance, error)
        if isinstance(error, ConditionsFailed) and error.of("idempotency key"):
            raise KeyInUse() from error
        raise

    metrics.emit(PromptsAccepted=1)
    message_id = ids.message_id(room_id, turn.seq)
    message = Message.queued(message_id, prompt.content, times.text(now))
    return _queue(room_id, message, messages.FIRST, allowance.headers())


def retry(caller: Claims, room_id: str, message_id: str, now: datetime) -> SentPrompt:
    """Queue a failed prompt again and count it like a new one.

    Raises NotFound, TooManyRequests, NotFailed, and Unauthorized if the session has ended.
    """
    user_id = caller.user_id
    generation = secrets.token_hex(4)
    prompt = messages.get_prompt(caller, room_id, ids.message_seq(room_id, message_id), now)
    if prompt.status is not Status.FAILED:
        raise NotFailed()

    def write(choice: "Choice", reservation: Reservation) -> list[Write]:
        return [
            chatrooms.note_activity(user_id, room_id, now),
            messages.retry_prompt(prompt.turn, choice, reservation, generation, now),
        ]

    allowance = _admit(user_id, now, room_list_cache.update_notice(room_id, now))
    try:
        allowance = _store(caller, allowance, prompt.turn, prompt.content, write)
    except Exception as error:
        _take_back(allowance, error)
        if isinstance(error, ConditionsFailed):
            raise (NotFound() if error.of("room") else NotFailed()) from error
        raise

    metrics.emit(PromptsAccepted=1)
    message = Message.queued(message_id, prompt.content, prompt.created_at)
    return _queue(room_id, message, generation, allowance.headers())


def _find_stored(
    caller: Claims, room_id: str, prompt: NewPrompt, idempotency_key: str, now: datetime
) -> Message | None:
    """Return the prompt that this request stored before, or None if the key is unused.

    Raises KeyReused if the key came with another request.
    """
    used = idempotency_keys.find(caller, idempotency_key, now)
    if used is None:
        return None
    if used.fingerprint != fingerprint(room_id, prompt.content):
        raise KeyReused()
    return messages.get(caller, room_id, ids.message_id(room_id, int(used.seq)), now)


def _admit(user_id: str, now: datetime, notice: str) -> Allowance:
    """Return the user's allowance with one more prompt counted. Raises TooManyRequests.

    Redis decides if it can, else the table. Redis knows the limits per day and per burst window
    only: a refusal for another one is not cached.
    """
    try:
        admitted = prompt_limits.admit(user_id, now, notice)
        if admitted:
            return admitted
        allowance = usage.read_allowance(user_id, now)
        if allowance.reached in (Limit.DAY, Limit.BURST):
            prompt_limits.store(allowance, refused=True)
        if allowance.reached:
            raise allowance.refusal()
    except TooManyRequests:
        metrics.emit(PromptsRefused=1)
        raise
    allowance = allowance.count_prompt()
    if not allowance.unproven:  # Redis knows nothing of proofs: these users always ask the table
        prompt_limits.store(allowance)
    return allowance


def _store(
    caller: Claims,
    allowance: Allowance,
    turn: Turn,
    content: str,
    write: Callable[["Choice", Reservation], list[Write]],
) -> Allowance:
    """Commit a prompt's writes together with its count; return the tables' allowance.

    The transaction checks the limits, and that the subscription gives pro where the allowance says
    so, or that the user has proven an identity: whatever Redis answered, only the tables admit a
    prompt. Raises ConditionsFailed if one of the prompt's writes failed, Unauthorized,
    TooManyRequests, IdentityNotProven.
    """
    now = allowance.now
    for _ in range(3):
        catalogue = config.catalogue()
        choice = catalogue.choose(turn.model, allowance.plan, now.date())
        if allowance.unproven:
            choice = catalogue.choose_cheapest()
        reservation = _reserve(allowance, turn, content, choice)
        allowance = replace(allowance, amount=reservation.amount)
        if allowance.is_too_expensive:
            raise allowance.refusal()
        writes, counts = write(choice, reservation), usage.count_prompt(allowance, reservation)
        needs_proof = allowance.plan is Plan.BASIC and not allowance.unproven
        counts.append(users.check_session(caller, now, proven=needs_proof))
        if allowance.plan is Plan.PRO:
            counts.append(subscriptions.require_pro(allowance.user_id, now))
        try:
            transact(*writes, *counts)
            return allowance
        except ConditionsFailed as error:
            if not error.only(*(count.name for count in counts)):
                raise
            failed = error
        if failed.of("unproven") or failed.of("unproven stage"):
            raise _unproven_refusal(failed) from failed
        was_unproven = bool(allowance.unproven)
        allowance = usage.read_allowance(allowance.user_id, now)
        if failed.of("session") and bool(allowance.unproven) == was_unproven:
            raise Unauthorized(ENDED) from failed
        if replace(allowance, amount=reservation.amount).reached:
            raise replace(allowance, amount=reservation.amount).refusal()
        if failed.of("stage"):
            raise _stage_refusal(now)
        allowance = allowance.count_prompt()
    raise Contended()


def _reserve(allowance: Allowance, turn: Turn, content: str, choice: "Choice") -> Reservation:
    return spending.reserve(
        choice=choice,
        day=allowance.day,
        chatroom_id=turn.chatroom_id,
        seq=turn.seq,
        texts=[content, turn.system_instruction or ""],
        history_characters=config.number("HISTORY_CHARACTERS"),
        cap=allowance.limits.spending,
        stage_cap=config.stage_cap(),
    )


def _unproven_refusal(failed: ConditionsFailed) -> IdentityNotProven:
    """Return the error for a prompt of an account that has proven no identity."""
    prompts = "their five prompts" if failed.of("unproven") else "all prompts of today"
    return IdentityNotProven(
        f"Accounts without a verified email or mobile number have used up {prompts}. Verify yours "
        "to continue: POST /auth/send-otp, then POST /auth/verify-otp."
    )


def _stage_refusal(now: datetime) -> StageLimit:
    """Return the error for a prompt that the stage's cap does not allow."""
    metrics.emit(StageLimitRefusals=1)
    resets = times.next_day(now)
    return StageLimit(
        "This service has used up its budget for prompts today. Everything else works. "
        f"The budget resets at {times.text(resets)}.",
        retry_after=math.ceil((resets - now).total_seconds()),
        extensions={"resetsAt": times.text(resets)},
    )


def _take_back(allowance: Allowance, error: Exception) -> None:
    """Correct the counts in Redis after an admitted prompt was not stored."""
    if isinstance(error, TooManyRequests):
        metrics.emit(PromptsRefused=1)
        prompt_limits.forget(allowance.user_id, allowance.now)
    else:
        prompt_limits.undo(allowance)


def _queue(
    room_id: str, message: Message, generation: str, headers: Mapping[str, str]
) -> SentPrompt:
    """Queue the prompt unless a worker has begun to answer it."""
    job = Job(chatroom_id=room_id, seq=ids.message_seq(room_id, message.id), generation=generation)
    if message.status == Status.QUEUED:
        prompt_queue.send(job)
    return SentPrompt(message, job.id, headers)
