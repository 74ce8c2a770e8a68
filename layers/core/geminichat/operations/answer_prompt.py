"""Finish a leased prompt: store its reply or its failure, and settle what was reserved for it."""

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from geminichat import config, metrics
from geminichat.domain import spending, times
from geminichat.domain.messages import NO_TOKENS, REFUNDED, Failure, Reply, TokenUsage
from geminichat.domain.spending import Reservation
from geminichat.tables import messages, usage
from geminichat.tables.messages import LeasedPrompt
from geminichat.tables.table import ConditionsFailed, Write, transact, transact_if
from geminichat.upstash import prompt_limits

if TYPE_CHECKING:
    from geminichat.domain.models import Thinking


class LeaseLost(Exception):
    """Another worker has leased the prompt since, or it is final."""


def answer(prompt: LeasedPrompt, reply: Reply, now: datetime) -> None:
    """Store the reply, mark the prompt answered and settle it in one transaction.

    Raises LeaseLost.
    """
    tokens = prompt.tokens + reply.tokens
    _commit(
        messages.put_reply(
            prompt, reply.content, tokens, model=reply.model, finish=reply.finish, now=now
        ),
        messages.mark_answered(prompt),
        *usage.settle_prompt(prompt.user_id, _reservation_of(prompt, now), tokens, refunded=False),
    )


def fail(
    prompt: LeasedPrompt, failure: Failure, now: datetime, tokens: TokenUsage = NO_TOKENS
) -> None:
    """Mark the prompt failed and settle it in one transaction.

    It is refunded to its day's quota unless its user could cause the failure. `tokens` are the last
    attempt's. Raises LeaseLost.
    """
    refunded = prompt.counted_on is not None and failure.code in REFUNDED
    _commit(
        messages.mark_failed(prompt, failure, now, refunded=refunded),
        *usage.settle_prompt(
            prompt.user_id,
            _reservation_of(prompt, now),
            prompt.tokens + tokens,
            refunded=refunded,
        ),
    )
    metrics.emit(PromptsFailed=1)
    if refunded and prompt.counted_on:
        prompt_limits.forget_day(prompt.user_id, prompt.counted_on)


def release(prompt: LeasedPrompt, tokens: TokenUsage, thinking: "Thinking | None" = None) -> bool:
    """Queue the prompt for a later attempt, and return whether the caps allow one.

    `tokens` are those of the attempt that failed: the later one may cost as much again, so their
    cost is reserved in addition. `thinking` replaces the prompt's level. Raises LeaseLost.
    """
    if tokens == NO_TOKENS:
        messages.release_prompt(prompt, thinking)
        return True
    reservation, more = prompt.reservation, list[Write]()
    if reservation:
        cost = reservation.cost(tokens)
        more = usage.reserve_more(prompt.user_id, reservation, cost)
        reservation = msgspec.structs.replace(reservation, amount=reservation.amount + cost)
    try:
        transact(messages.release_charged(prompt, tokens, reservation, thinking), *more)
    except ConditionsFailed as error:
        if error.of("prompt"):
            raise LeaseLost() from error
        return False
    return True


def _reservation_of(prompt: LeasedPrompt, now: datetime) -> Reservation:
    """Return the prompt's reservation; for a prompt without one, its prices and the day."""
    if prompt.reservation:
        return prompt.reservation
    model = config.catalogue().serving(prompt.model, now.date())
    return spending.without_amount(model, prompt.counted_on or times.day(now))


def _commit(*writes: Write) -> None:
    """Commit a prompt's end; without its user's counts if they were deleted with the user."""
    try:
        transact(*writes)
    except ConditionsFailed as error:
        if not error.only("day"):
            raise LeaseLost() from error
        if not transact_if(*(write for write in writes if write.name != "day")):
            raise LeaseLost() from error
