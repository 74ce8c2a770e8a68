"""Finish a prompt: store its reply or its failure, and settle its reservation."""

from datetime import datetime

import msgspec

from geminichat import config, metrics
from geminichat.domain import ids, spending, times
from geminichat.domain.messages import NO_TOKENS, REFUNDED, Failure, Finish, Reply, TokenUsage
from geminichat.domain.models import Thinking
from geminichat.domain.spending import Reservation
from geminichat.tables import live, pieces, usage
from geminichat.tables.messages import leases, prompts
from geminichat.tables.messages.leases import LeasedPrompt, LeaseLost
from geminichat.tables.messages.prompts import Prompt
from geminichat.tables.table import ConditionsFailed, Write, transact, transact_if


def answer(prompt: LeasedPrompt, reply: Reply, now: datetime) -> None:
    """Store the reply, mark the prompt as answered and settle it in one transaction.

    If the reply was stopped, the prompt is marked as stopped, and a reply without text is not
    stored. Raises LeaseLost.
    """
    tokens = prompt.tokens + reply.tokens
    put_reply = [leases.put_reply(prompt, reply, tokens, now)] if reply.content else []
    _commit(
        *put_reply,
        leases.mark_answered(prompt, reply.finish),
        *usage.settle_prompt(prompt.user_id, _reservation_of(prompt, now), tokens, refunded=False),
    )
    if reply.finish is Finish.STOPPED:
        metrics.emit(PromptsStopped=1)


def stop(prompt: LeasedPrompt, now: datetime) -> None:
    """Stop a prompt after its worker died; the reply is the text that the worker stored.

    Raises LeaseLost.
    """
    written = pieces.read_text(prompt.chatroom_id, prompt.seq, prompt.attempt - 1, 0)
    answer(prompt, Reply(written.text, NO_TOKENS, prompt.model, Finish.STOPPED), now)
    live.clear_stop(prompt.user_id, ids.message_id(prompt.chatroom_id, prompt.seq))


def stop_queued(prompt: Prompt, now: datetime) -> bool:
    """Stop a queued prompt and refund it in one transaction.

    Returns False if a worker has leased it in the meantime.
    """
    try:
        _end(prompt, prompts.mark_stopped(prompt), prompt.tokens, now)
    except LeaseLost:
        return False
    metrics.emit(PromptsStopped=1)
    return True


def stop_hidden(prompt: LeasedPrompt, now: datetime) -> None:
    """Stop a leased prompt that an edit or an undo has hidden, and refund it.

    Gemini was not asked in this attempt. Raises LeaseLost.
    """
    _end(prompt, leases.mark_hidden(prompt), prompt.tokens, now)
    metrics.emit(PromptsStopped=1)


def fail(
    prompt: LeasedPrompt, failure: Failure, now: datetime, tokens: TokenUsage = NO_TOKENS
) -> None:
    """Mark the prompt as failed and settle it in one transaction.

    The prompt is refunded unless its user could have caused the failure. `tokens` are the tokens of
    the last attempt. Raises LeaseLost.
    """
    refunded = prompt.counted_on is not None and failure.code in REFUNDED
    failed = leases.mark_failed(prompt, failure, now, refunded=refunded)
    _end(prompt, failed, prompt.tokens + tokens, now, refunded=refunded)
    metrics.emit(PromptsFailed=1)


def release(prompt: LeasedPrompt, tokens: TokenUsage, thinking: Thinking | None = None) -> bool:
    """Release the prompt for a later attempt.

    Returns False if the caps do not allow another attempt, the prompt is to be stopped or the lease
    was lost. `tokens` are the tokens of the failed attempt. Their cost is reserved in addition,
    since the next attempt may cost as much again. `thinking` replaces the prompt's thinking level.
    """
    if tokens == NO_TOKENS:
        return leases.release_prompt(prompt, thinking)
    reservation, more = prompt.reservation, list[Write]()
    if reservation:
        cost = reservation.cost(tokens)
        more = usage.reserve_more(prompt.user_id, reservation, cost)
        reservation = msgspec.structs.replace(reservation, amount=reservation.amount + cost)
    return transact_if(leases.release_charged(prompt, tokens, reservation, thinking), *more)


def _end(
    prompt: Prompt, mark: Write, tokens: TokenUsage, now: datetime, *, refunded: bool = True
) -> None:
    """Commit the write that ends a prompt without a reply, and settle it. Raises LeaseLost.

    A prompt that counts on no day, such as a redriven one, is never refunded.
    """
    refunded = refunded and prompt.counted_on is not None
    reservation = _reservation_of(prompt, now)
    _commit(mark, *usage.settle_prompt(prompt.user_id, reservation, tokens, refunded=refunded))
    if refunded and prompt.counted_on:
        from geminichat.upstash import prompt_limits  # few prompts are refunded

        prompt_limits.forget_day(prompt.user_id, prompt.counted_on)


def _reservation_of(prompt: Prompt, now: datetime) -> Reservation:
    """Return the prompt's reservation, or a reservation of zero if the prompt has none."""
    if prompt.reservation:
        return prompt.reservation
    model = config.catalogue().choose_serving(prompt.model, now.date())
    return spending.without_amount(model, prompt.counted_on or times.day(now))


def _commit(*writes: Write) -> None:
    """Commit the writes that end a prompt; skip the user's counts if the counts were deleted."""
    try:
        transact(*writes)
    except ConditionsFailed as error:
        if not error.has_only("day"):
            raise LeaseLost() from error
        if not transact_if(*(write for write in writes if write.name != "day")):
            raise LeaseLost() from error
