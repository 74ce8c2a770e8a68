"""Lease a prompt, prolong the lease, and release or finish the leased prompt."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat.domain import times
from geminichat.domain.messages import UNFINISHED, Failure, Finish, Reply, Status, TokenUsage
from geminichat.domain.models import Thinking
from geminichat.domain.spending import Reservation
from geminichat.tables.messages import prompts, stored
from geminichat.tables.messages.prompts import Prompt
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.table import Write, put, update, update_if


class LeaseLost(Exception):
    """Another worker has leased the prompt since, or it is final."""


class LeasedPrompt(Prompt, frozen=True, kw_only=True):
    """A prompt that one worker may answer until its lease ends; `lease` is the fencing token."""


def lease_prompt(
    chatroom_id: str, seq: int, lease: str, now: datetime, duration: timedelta
) -> LeasedPrompt | None:
    """Lease a prompt that is queued or has an expired lease, and count the attempt.

    Returns None if the prompt is missing, final or leased by another worker.
    """
    moment = times.text(now)
    prompt = StoredMessage(chatroom_id, seq)
    available = (StoredMessage.status == Status.QUEUED) | (
        (StoredMessage.status == Status.GENERATING)
        # The prompt already has this lease if the answer to the first try of this call was lost.
        & ((StoredMessage.leased_until < moment) | (StoredMessage.lease == lease))
    )
    if not update_if(
        prompt,
        [
            StoredMessage.status.set(Status.GENERATING),
            StoredMessage.lease.set(lease),
            StoredMessage.leased_until.set(times.text(now + duration)),
            StoredMessage.attempts.add(1),
            StoredMessage.attempt.add(1),
        ],
        available,
    ):
        return None
    return prompts.read(prompt, LeasedPrompt)


def prolong_lease(prompt: LeasedPrompt, now: datetime, duration: timedelta) -> bool:
    """Prolong a lease; return whether the prompt is to be stopped. Raises LeaseLost."""
    item = StoredMessage(prompt.chatroom_id, prompt.seq)
    until = StoredMessage.leased_until.set(times.text(now + duration))
    if not update_if(item, [until], _is_leased(prompt)):
        raise LeaseLost()
    return bool(item.stop)


def return_prompt(prompt: LeasedPrompt) -> None:
    """Queue a leased prompt again without counting the attempt: Gemini was not asked."""
    item = StoredMessage(prompt.chatroom_id, prompt.seq)
    update_if(item, [*_release(None), StoredMessage.attempts.add(-1)], _is_leased(prompt))


def release_prompt(prompt: LeasedPrompt, thinking: Thinking | None = None) -> bool:
    """Queue a leased prompt for a later attempt.

    Returns False if the lease was lost or the prompt is to be stopped. `thinking` replaces the
    prompt's thinking level.
    """
    item = StoredMessage(prompt.chatroom_id, prompt.seq)
    return update_if(item, _release(thinking), _may_continue(prompt))


def release_charged(
    prompt: LeasedPrompt,
    tokens: TokenUsage,
    reservation: Reservation | None,
    thinking: Thinking | None,
) -> Write:
    """Return the write "prompt", which queues a leased prompt for a later attempt.

    `tokens` are the tokens of the failed attempt; they are settled when the prompt ends.
    """
    actions = [
        *_release(thinking),
        StoredMessage.input_tokens.add(tokens.input_tokens),
        StoredMessage.output_tokens.add(tokens.output_tokens),
    ]
    if reservation:
        actions.append(StoredMessage.reservation.set(stored.encode_reservation(reservation)))
    item = StoredMessage(prompt.chatroom_id, prompt.seq)
    return update("prompt", item, actions, _may_continue(prompt))


def _release(thinking: Thinking | None) -> list[Action]:
    actions: list[Action] = [
        StoredMessage.status.set(Status.QUEUED),
        StoredMessage.lease.remove(),
        StoredMessage.leased_until.remove(),
    ]
    if thinking:
        actions.append(StoredMessage.thinking.set(thinking))
    return actions


def find_wait(chatroom_id: str, seq: int, now: datetime) -> int | None:
    """Return the seconds until an unfinished prompt may be leased; None for any other message."""
    prompt = prompts.find(chatroom_id, seq)
    if prompt is None or prompt.status not in UNFINISHED:
        return None
    if prompt.status == Status.QUEUED or not prompt.leased_until:
        return 1
    return max(1, times.seconds_until(prompt.leased_until, now))


def put_reply(prompt: LeasedPrompt, reply: Reply, tokens: TokenUsage, now: datetime) -> Write:
    """Return the write "reply", which stores a reply with all tokens billed for it."""
    item = StoredMessage(
        prompt.chatroom_id,
        prompt.seq + 1,
        user_id=prompt.user_id,
        sender="ai",
        content=reply.content,
        model=reply.model,
        requested_model=prompt.requested_model if prompt.requested_model != reply.model else None,
        finish=reply.finish,
        created_at=times.text(now),
        input_tokens=tokens.input_tokens,
        output_tokens=tokens.output_tokens,
    )
    return put("reply", item, StoredMessage.seq.does_not_exist())


def mark_answered(prompt: LeasedPrompt, finish: Finish) -> Write:
    """Return the write "prompt", which marks a leased prompt as answered, or as stopped."""
    status = Status.STOPPED if finish is Finish.STOPPED else Status.ANSWERED
    return _finish(prompt, [StoredMessage.status.set(status)])


def mark_hidden(prompt: LeasedPrompt) -> Write:
    """Return the write "prompt", which marks a leased prompt as stopped and not counted."""
    actions = [StoredMessage.status.set(Status.STOPPED), StoredMessage.counted_on.remove()]
    return _finish(prompt, actions)


def mark_failed(prompt: LeasedPrompt, failure: Failure, now: datetime, *, refunded: bool) -> Write:
    """Return the write "prompt", which marks a leased prompt as failed.

    A `refunded` prompt no longer counts.
    """
    actions = [
        StoredMessage.status.set(Status.FAILED),
        StoredMessage.error_code.set(failure.code),
        StoredMessage.error_message.set(failure.message),
        StoredMessage.failed_at.set(times.text(now)),
    ]
    if refunded:
        actions.append(StoredMessage.counted_on.remove())
    return _finish(prompt, actions)


def _finish(prompt: LeasedPrompt, actions: Sequence[Action]) -> Write:
    item = StoredMessage(prompt.chatroom_id, prompt.seq)
    return update("prompt", item, [*actions, *stored.end_prompt()], _is_leased(prompt))


def _is_leased(prompt: LeasedPrompt) -> Condition:
    same: Condition = StoredMessage.lease == prompt.lease
    return same


def _may_continue(prompt: LeasedPrompt) -> Condition:
    may: Condition = _is_leased(prompt) & StoredMessage.stop.does_not_exist()
    return may
