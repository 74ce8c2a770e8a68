"""Finish a leased prompt: store its reply or its failure, and what either means for its user."""

from datetime import datetime

from geminichat import metrics
from geminichat.domain.messages import Failure, TokenUsage
from geminichat.tables import messages, usage
from geminichat.tables.messages import LeasedPrompt
from geminichat.tables.table import Write, transact_if
from geminichat.upstash import prompt_limits


class LeaseLost(Exception):
    """Another worker has leased the prompt since, or it is final."""


def answer(prompt: LeasedPrompt, content: str, tokens: TokenUsage, now: datetime) -> None:
    """Store the reply, mark the prompt answered and count the tokens in one transaction.

    Raises LeaseLost.
    """
    _commit(
        messages.put_reply(prompt, content, tokens, now),
        messages.mark_answered(prompt),
        usage.count_tokens(prompt.user_id, tokens, now),
    )


def fail(prompt: LeasedPrompt, failure: Failure) -> None:
    """Mark the prompt failed and refund it to its day's quota in one transaction.

    Raises LeaseLost.
    """
    writes = [messages.mark_failed(prompt, failure)]
    if prompt.counted_on:
        writes.append(usage.refund_prompt(prompt.user_id, prompt.counted_on))
    _commit(*writes)
    metrics.emit(PromptsFailed=1)
    if prompt.counted_on:
        prompt_limits.forget_day(prompt.user_id, prompt.counted_on)


def _commit(*writes: Write) -> None:
    if not transact_if(*writes):
        raise LeaseLost()
