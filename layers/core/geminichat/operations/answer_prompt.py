"""Finish a leased prompt: store its reply or its failure, and what either means for its user."""

from datetime import datetime

from geminichat import metrics
from geminichat.domain.messages import NO_TOKENS, Failure, Reply, TokenUsage
from geminichat.tables import messages, usage
from geminichat.tables.messages import LeasedPrompt
from geminichat.tables.table import Write, transact_if
from geminichat.upstash import prompt_limits


class LeaseLost(Exception):
    """Another worker has leased the prompt since, or it is final."""


def answer(prompt: LeasedPrompt, reply: Reply, now: datetime) -> None:
    """Store the reply, mark the prompt answered and count all its tokens in one transaction.

    Raises LeaseLost.
    """
    tokens = prompt.tokens + reply.tokens
    _commit(
        messages.put_reply(
            prompt, reply.content, tokens, model=reply.model, finish=reply.finish, now=now
        ),
        messages.mark_answered(prompt),
        *usage.settle_prompt(prompt.user_id, tokens, None, now),
    )


def fail(
    prompt: LeasedPrompt, failure: Failure, now: datetime, tokens: TokenUsage = NO_TOKENS
) -> None:
    """Mark the prompt failed, count its tokens and refund it in one transaction.

    `tokens` are the last attempt's. Raises LeaseLost.
    """
    tokens = prompt.tokens + tokens
    _commit(
        messages.mark_failed(prompt, failure),
        *usage.settle_prompt(prompt.user_id, tokens, prompt.counted_on, now),
    )
    metrics.emit(PromptsFailed=1)
    if prompt.counted_on:
        prompt_limits.forget_day(prompt.user_id, prompt.counted_on)


def _commit(*writes: Write) -> None:
    if not transact_if(*writes):
        raise LeaseLost()
