"""Send a prompt, replace turns by a new prompt, or retry a failed prompt.

A prompt is admitted, then stored and counted in one transaction, then queued.
"""

import random
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
from msgspec.structs import replace

from geminichat import config, metrics
from geminichat.clients import prompt_queue
from geminichat.clients.prompt_queue import Job
from geminichat.domain import ids, spending, times
from geminichat.domain.messages import AcceptedPrompt, Message, NewPrompt, Status
from geminichat.domain.models import Choice
from geminichat.domain.plans import Plan
from geminichat.domain.quota import SOON, UNPROVEN_PROMPTS, Allowance, Limit
from geminichat.domain.sessions import ENDED, Claims
from geminichat.domain.spending import Reservation
from geminichat.errors import (
    AppError,
    ChangedMeanwhile,
    Contended,
    IdentityNotProven,
    KeyInUse,
    NotFailed,
    NotFound,
    StageLimit,
    TooManyInFlight,
    TooManyRequests,
    Unauthorized,
)
from geminichat.runtime import log
from geminichat.tables import chatrooms, idempotency_keys, subscriptions, usage, users
from geminichat.tables.chatrooms import Chatroom, Turn
from geminichat.tables.idempotency_keys import KeyedRequest, Use
from geminichat.tables.messages import prompts, stored, views
from geminichat.tables.table import ConditionsFailed, Write, batch_get, transact
from geminichat.upstash import change_notices, prompt_limits

ROOM_TRIES = 24
"""The number of tries to reserve a room's next turn while other prompts reserve theirs."""
ROOM_PAUSE = 0.01
"""Seconds that each try adds to the maximum of the random pause before the next try."""


class SentPrompt(msgspec.Struct, frozen=True):
    """An accepted prompt, and the headers with the prompt's URL and the limits."""

    prompt: AcceptedPrompt
    headers: Mapping[str, str]


def send(
    caller: Claims, room_id: str, prompt: NewPrompt, idempotency_key: str | None, now: datetime
) -> SentPrompt:
    """Store, count and queue a prompt, once per idempotency key.

    Raises NotFound, TooManyRequests, KeyInUse, KeyReused, and Unauthorized if the session has
    ended.
    """
    request = KeyedRequest.of(idempotency_key, room_id, prompt.content)
    use, room = idempotency_keys.read(
        caller, request, now, chatrooms.key_of(caller.user_id, room_id)
    )
    if use:
        return _replay(caller, use, now)
    if room is None:
        raise NotFound()

    def reserve(room: Chatroom) -> tuple[Turn, Write]:
        return chatrooms.reserve_turn(room, now)

    return _send(caller, room, prompt.content, request, reserve, now, tries=ROOM_TRIES)


def replace_turns(
    caller: Claims,
    room_id: str,
    seq: int,
    *,
    content: str | None = None,
    model: str | None = None,
    idempotency_key: str | None,
    now: datetime,
) -> SentPrompt:
    """Send a prompt that replaces the turn at a position and all later turns, which are hidden.

    Without `content` the new prompt has the same text; `model` applies to this turn only. One
    transaction hides the turns and stores and counts the prompt. Raises NotFound, ChangedMeanwhile,
    TooManyEdits, TooManyRequests, KeyInUse, KeyReused, and Unauthorized if the session has ended.
    """
    request = KeyedRequest.of(
        idempotency_key, room_id, "replace", str(seq), content or "", model or ""
    )
    use, room, prompt = idempotency_keys.read(
        caller,
        request,
        now,
        chatrooms.key_of(caller.user_id, room_id),
        stored.key_of(room_id, seq),
    )
    if use:
        return _replay(caller, use, now)
    if room is None or prompt is None or prompt.sender != "user":
        raise NotFound()
    if chatrooms.is_hidden(room, seq):
        idempotency_keys.require_unused(caller, request, now)
        raise ChangedMeanwhile()

    def reserve(room: Chatroom) -> tuple[Turn, Write]:
        turn, hide = chatrooms.replace_turns(room, seq, now)
        return replace(turn, model=model or turn.model), hide

    return _send(caller, room, content or prompt.content, request, reserve, now)


def _send(
    caller: Claims,
    room: Chatroom,
    content: str,
    request: KeyedRequest | None,
    reserve: Callable[[Chatroom], tuple[Turn, Write]],
    now: datetime,
    *,
    tries: int = 1,
) -> SentPrompt:
    """Admit a prompt, store and count it with its turn in one transaction, and queue it.

    `reserve` returns the turn, and the write "room" that reserves it. If the room has changed, it
    is read again before the next try.
    """
    room_id, user_id = room.chatroom_id, caller.user_id
    allowance = _admit(user_id, now, change_notices.notice("active", room_id, now))

    def store(room: Chatroom) -> tuple[Turn, Allowance]:
        turn, turn_write = reserve(room)

        def write(choice: Choice, reservation: Reservation) -> list[Write]:
            put_prompt = prompts.put_prompt(turn, content, choice, reservation, now)
            put_key = idempotency_keys.put_key(
                user_id, request, room_id, now, seq=turn.seq, plan=reservation.plan
            )
            return [turn_write, put_prompt, *put_key]

        return turn, _store(caller, allowance, turn, content, write)

    try:
        turn, admitted = _retry_changed(room, store, tries)
    except Exception as error:
        _take_back(allowance, error)
        if isinstance(error, ConditionsFailed):
            if error.of("idempotency key"):
                raise KeyInUse() from error
            if error.of("room") or error.of("prompt"):
                raise (ChangedMeanwhile() if tries == 1 else Contended()) from error
        raise

    metrics.emit(PromptsAccepted=1)
    message = Message.new_prompt(ids.message_id(room_id, turn.seq), content, times.text(now))
    return _queue(room_id, message, admitted.plan, stored.FIRST, admitted.headers())


def _retry_changed[T](room: Chatroom, store: Callable[[Chatroom], T], tries: int) -> T:
    """Call `store` with the room; if the room has changed, read it and call `store` again.

    If the room's last position is behind its messages, the position is corrected first. Raises
    NotFound if the room was deleted, and ConditionsFailed.
    """
    changes = 0
    while True:
        try:
            return store(room)
        except ConditionsFailed as error:
            if error.of("idempotency key") or not (error.of("room") or error.of("prompt")):
                raise
            if error.of("room") or not _correct_last(room):
                changes += 1
                if changes == tries:
                    raise
        time.sleep(random.uniform(0, ROOM_PAUSE * changes))
        [room] = batch_get(chatrooms.key_of(room.user_id, room.chatroom_id))
        if room is None:
            raise NotFound()


def _correct_last(room: Chatroom) -> bool:
    """Set a room's last position to that of its messages; return False if the room has changed.

    The room is behind its messages after the chatrooms table was restored to an earlier moment.
    """
    last = stored.read_last_position(room.chatroom_id)
    log.warning("last position corrected", chatroom_id=room.chatroom_id, last=last)
    return chatrooms.correct_last(room, last)


def retry(caller: Claims, room_id: str, message_id: str, now: datetime) -> SentPrompt:
    """Queue a failed prompt again and count it like a new one.

    Raises NotFound, TooManyRequests, NotFailed, ChangedMeanwhile, and Unauthorized if the session
    has ended.
    """
    user_id = caller.user_id
    generation = secrets.token_hex(4)
    seq = ids.message_seq(room_id, message_id)
    room, prompt = prompts.get(caller, room_id, seq, now)
    if chatrooms.is_hidden(room, seq):
        raise ChangedMeanwhile()
    if prompt.status != Status.FAILED:
        raise NotFailed()

    def write(choice: Choice, reservation: Reservation) -> list[Write]:
        return [
            chatrooms.note_activity(user_id, room_id, now),
            prompts.retry_prompt(prompt.turn, choice, reservation, generation, now),
        ]

    allowance = _admit(user_id, now, change_notices.notice("changed", room_id, now))
    try:
        allowance = _store(caller, allowance, prompt.turn, prompt.content, write)
    except Exception as error:
        _take_back(allowance, error)
        if isinstance(error, ConditionsFailed):
            raise (NotFound() if error.of("room") else NotFailed()) from error
        raise

    metrics.emit(PromptsAccepted=1)
    message = Message.new_prompt(message_id, prompt.content, prompt.created_at)
    return _queue(room_id, message, allowance.plan, generation, allowance.headers())


def _replay(caller: Claims, use: Use, now: datetime) -> SentPrompt:
    """Return the prompt that the same request stored before; queue it if no worker has begun."""
    room_id = use.chatroom_id
    message = views.get(caller, room_id, ids.message_id(room_id, use.seq), now)
    headers = {"idempotency-replayed": "true"}
    return _queue(room_id, message, use.plan, stored.FIRST, headers)


def _admit(user_id: str, now: datetime, notice: str) -> Allowance:
    """Return the user's allowance after one more prompt. Raises TooManyRequests.

    Redis decides if it can, else the table. A refusal is cached only for the limits per day and per
    burst window, since Redis knows no others.
    """
    try:
        admitted = prompt_limits.admit(user_id, now, notice)
        if admitted:
            return admitted
        allowance = usage.read_allowance(user_id, now)
        if allowance.reached in (Limit.DAY, Limit.BURST):
            prompt_limits.store(allowance, refused=True)
        if allowance.unproven and not allowance.unproven_left:
            raise _build_unproven_refusal(allowance)
        if allowance.reached:
            raise allowance.refusal()
    except (IdentityNotProven, TooManyRequests):
        metrics.emit(PromptsRefused=1)
        raise
    allowance = allowance.count_prompt()
    if not allowance.unproven:  # Redis does not store proofs: the table decides for unproven users
        prompt_limits.store(allowance)
    return allowance


def _store(
    caller: Claims,
    allowance: Allowance,
    turn: Turn,
    content: str,
    write: Callable[[Choice, Reservation], list[Write]],
) -> Allowance:
    """Commit a prompt's writes and its count; return the allowance under which the prompt counts.

    Whatever Redis answered, only the tables admit a prompt. The transaction checks the limits. It
    also checks that a pro user's plan is still pro, or that a basic user has proven an identity.
    Raises ConditionsFailed if one of the prompt's writes failed, Unauthorized, TooManyRequests,
    IdentityNotProven.
    """
    now = allowance.now
    for _ in range(3):
        catalogue = config.catalogue()
        choice = catalogue.choose(turn.model, allowance.plan, now.date())
        if allowance.unproven:
            choice = catalogue.choose_cheapest(now.date())
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
            if not error.has_only(*(count.name for count in counts)):
                raise
            allowance = _count_again(allowance, error)
    raise Contended()


def _count_again(allowance: Allowance, failed: ConditionsFailed) -> Allowance:
    """Read the allowance after a count's write failed, and return it with this prompt counted.

    Raises Unauthorized, TooManyRequests, IdentityNotProven.
    """
    current = usage.read_allowance(allowance.user_id, allowance.now)
    if failed.of("unproven") or failed.of("unproven stage"):
        raise _build_unproven_refusal(current) from failed
    if failed.of("session") and bool(current.unproven) == bool(allowance.unproven):
        raise Unauthorized(ENDED) from failed
    priced = replace(current, amount=allowance.amount)
    if priced.reached:
        raise priced.refusal()
    if failed.of("stage"):
        raise _build_stage_refusal(allowance.now)
    return current.count_prompt()


def _reserve(allowance: Allowance, turn: Turn, content: str, choice: Choice) -> Reservation:
    return spending.reserve(
        choice=choice,
        day=allowance.day,
        chatroom_id=turn.chatroom_id,
        seq=turn.seq,
        texts=[content, turn.system_instruction or ""],
        history_characters=config.number("HISTORY_CHARACTERS"),
        cap=allowance.limits.spending,
        stage_cap=config.stage_cap(),
        plan=allowance.plan,
        unproven=allowance.unproven,
    )


def _build_unproven_refusal(allowance: Allowance) -> AppError:
    """Return the error for a prompt of an account that has proven no identity.

    A used-up daily quota takes precedence over the limits of unproven accounts.
    """
    if allowance.reached is Limit.DAY:
        return allowance.refusal()
    if allowance.unproven_used >= UNPROVEN_PROMPTS:
        prompts = "their five prompts"
    elif not allowance.unproven_left:
        prompts = "all prompts of today"
    else:
        return TooManyInFlight(
            "Too many prompts of accounts without a verified email or mobile number are being "
            "answered. Try again in a moment, or verify your email or mobile number.",
            retry_after=SOON.seconds,
        )
    return IdentityNotProven(
        f"Accounts without a verified email or mobile number have used up {prompts}. To continue, "
        "verify yours: POST /auth/send-otp, then POST /auth/verify-otp."
    )


def _build_stage_refusal(now: datetime) -> StageLimit:
    """Return the error for a prompt that the stage's cap does not allow."""
    metrics.emit(StageLimitRefusals=1)
    resets = times.next_day(now)
    return StageLimit(
        "This service has used up its budget for prompts today. Everything else works. "
        f"The budget resets at {times.text(resets)}.",
        retry_after=times.seconds_until(resets, now),
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
    room_id: str, message: Message, plan: Plan, generation: str, headers: Mapping[str, str]
) -> SentPrompt:
    """Queue a prompt unless a worker has begun to answer it, and return it with its headers."""
    seq = ids.message_seq(room_id, message.id)
    job = Job(chatroom_id=room_id, seq=seq, generation=generation, plan=plan)
    if message.status == Status.QUEUED:
        prompt_queue.send(job)
    location = f"/chatroom/{room_id}/message/{message.id}"
    return SentPrompt(AcceptedPrompt.of(message, job.id), {"location": location, **headers})
