"""Answer a prompt: lease it, ask Gemini, and show and store the reply."""

import random
import time
from concurrent.futures import Executor

from geminichat import config, metrics
from geminichat.clients import gemini, prompt_queue, title_queue
from geminichat.clients.prompt_queue import Job
from geminichat.domain import history, ids, retries
from geminichat.domain.history import PastTurn
from geminichat.domain.messages import (
    NO_TOKENS,
    UNAVAILABLE,
    Failure,
    Finish,
    Reply,
    Status,
    TokenUsage,
)
from geminichat.domain.models import Thinking
from geminichat.operations import finish_prompt
from geminichat.operations.live_reply import LEASE, LiveReply, read_watchers
from geminichat.runtime import clock, log
from geminichat.tables.messages import leases, pages
from geminichat.tables.messages.leases import LeasedPrompt, LeaseLost
from geminichat.tables.messages.pages import Past

MARGIN = 10.0
"""Seconds of the invocation that are reserved for the work after Gemini's answer."""

LEAST_TURNS = 10
"""The least number of earlier turns that are searched for unfinished prompts."""


def answer(job: Job, deadline: float, background: Executor, *, first: bool) -> int | None:
    """Answer or fail a prompt; return the seconds until its next attempt, or None if it ended.

    `deadline` is the invocation's end by the monotonic clock. An attempt starts only if Gemini can
    have its full time, or if the prompt is the `first` of its room in the batch. Raises LeaseLost.
    """
    timeout = config.number("GEMINI_TIMEOUT")
    left = deadline - time.monotonic() - MARGIN
    if left < (1 if first else timeout):
        return 0
    prompt = leases.lease_prompt(job.chatroom_id, job.seq, ids.new("l"), clock.now(), LEASE)
    if prompt is None:
        return leases.find_wait(job.chatroom_id, job.seq, clock.now())
    if prompt.stop:
        finish_prompt.stop(prompt, clock.now())
        return None
    if prompt.attempts > config.number("MAX_ATTEMPTS"):
        _send_dead_letter(prompt, UNAVAILABLE, "every attempt broke off")
        return None
    try:
        watchers = read_watchers(prompt)
        if watchers.hides_prompt:
            finish_prompt.stop_hidden(prompt, clock.now())
            return None
        past = _read_past(prompt)
        if past.unfinished:
            leases.return_prompt(prompt)
            return _answer_earlier_first(job, past.unfinished, deadline, background)
        with LiveReply(prompt, watchers, background) as shown:
            return _generate(prompt, past.turns, min(left, timeout), shown, background)
    except LeaseLost:
        raise
    except Exception:
        leases.release_prompt(prompt)  # or the next attempt would wait for the lease to end
        raise


def identify(prompt: Job | LeasedPrompt) -> dict[str, str]:
    """Return the ids of a prompt for its log lines."""
    message_id = ids.message_id(prompt.chatroom_id, prompt.seq)
    return {"chatroom_id": prompt.chatroom_id, "message_id": message_id}


def _read_past(prompt: LeasedPrompt) -> Past:
    """Return the turns to send to Gemini, and the earlier prompts that are not finished."""
    if prompt.seq == 1:
        return Past([], [])
    turns = config.number("HISTORY_TURNS")
    past = pages.read_past(prompt.chatroom_id, prompt.seq, max(turns, LEAST_TURNS), prompt.hidden)
    latest = past.turns[-turns:] if turns else []
    return Past(history.select_turns(latest, config.number("HISTORY_CHARACTERS")), past.unfinished)


def _answer_earlier_first(
    job: Job, unfinished: list[int], deadline: float, background: Executor
) -> int | None:
    """Answer the room's unfinished earlier prompts, and then this one.

    The queue messages of the earlier prompts are late or lost. Until this prompt's message is
    deleted, SQS delivers no other message of the room.
    """
    for seq in unfinished:
        earlier = Job(chatroom_id=job.chatroom_id, seq=seq)
        log.warning("earlier prompt answered first", **identify(earlier))
        try:
            pause = answer(earlier, deadline, background, first=False)
        except LeaseLost:
            return 1
        if pause is not None:
            return pause
    return answer(job, deadline, background, first=False)


def _generate(
    prompt: LeasedPrompt,
    past: list[PastTurn],
    seconds: float,
    shown: LiveReply,
    background: Executor,
) -> int | None:
    """Ask Gemini and store the reply; see `answer` for the result."""
    start = time.monotonic()
    try:
        reply = _ask(prompt, past, seconds, shown)
    except gemini.GeminiError as error:
        return _retry_or_fail(prompt, error, shown)
    seconds_taken = time.monotonic() - start
    now = clock.now()
    finish_prompt.answer(prompt, reply, now)
    if reply.finish is Finish.STOPPED:
        shown.end(Status.STOPPED)
        log.info("prompt stopped", **identify(prompt), attempt=prompt.attempts)
        return None
    shown.end(Status.ANSWERED)
    log.info("prompt answered", **identify(prompt), attempt=prompt.attempts, model=reply.model)
    metrics.emit(
        PromptsAnswered=1,
        InputTokens=reply.tokens.input_tokens,
        OutputTokens=reply.tokens.output_tokens,
        FirstTextSeconds=((shown.first_text_at or now) - prompt.sent).total_seconds(),
        GeminiSeconds=seconds_taken,
        ReplySeconds=(now - prompt.sent).total_seconds(),
    )
    if prompt.title_due:
        background.submit(title_queue.send, prompt.user_id, prompt.chatroom_id, prompt.seq)
    return None


def _ask(prompt: LeasedPrompt, past: list[PastTurn], seconds: float, shown: LiveReply) -> Reply:
    """Return the reply of the prompt's model, or of the replacement of a retired model."""
    deadline = time.monotonic() + seconds
    catalogue = config.catalogue()
    model = catalogue.choose_serving(prompt.model, clock.now().date())
    while True:
        question = gemini.Question(
            model=model.id,
            prompt=prompt.content,
            past=past,
            system_instruction=prompt.system_instruction,
            thinking=model.nearest_thinking(prompt.thinking),
            max_output_tokens=prompt.max_output_tokens,
        )
        whole = max(1.0, deadline - time.monotonic())
        silence = config.number("GEMINI_SILENCE")
        try:
            return shown.receive(gemini.Generation(question, silence=silence, whole=whole))
        except gemini.Retired as error:
            replacement = catalogue.replacement(model)
            if replacement is None:
                raise
            log.warning(
                "model retired", reason=str(error), model=model.id, replacement=replacement.id
            )
            model = replacement


def _retry_or_fail(prompt: LeasedPrompt, error: gemini.GeminiError, shown: LiveReply) -> int | None:
    """Return the seconds until the next attempt, or None after failing the prompt."""
    log.warning(
        "gemini failed",
        **identify(prompt),
        error=type(error).__name__,
        reason=str(error),
        attempt=prompt.attempts,
    )
    if isinstance(error, gemini.Refused):
        metrics.emit(GeminiRefusals=1)
    elif isinstance(error, gemini.Unavailable) and error.is_outage:
        metrics.emit(GeminiFailures=1)
    tokens = error.tokens or NO_TOKENS
    less = Thinking.MINIMAL if isinstance(error, gemini.Silent) else None
    if prompt.attempts < min(config.number("MAX_ATTEMPTS"), error.max_attempts):
        if finish_prompt.release(prompt, tokens, less):
            first = config.number("RETRY_PAUSE")
            return retries.pause(prompt.attempts, first, error.after, random.random())
        if leases.prolong_lease(prompt, clock.now(), LEASE):  # the prompt is to be stopped
            reply = Reply(shown.text, tokens, prompt.model, Finish.STOPPED)
            finish_prompt.answer(prompt, reply, clock.now())
            shown.end(Status.STOPPED)
            return None
    if isinstance(error, gemini.Refused):
        _send_dead_letter(prompt, error.failure, type(error).__name__, tokens)
    else:
        finish_prompt.fail(prompt, error.failure, clock.now(), tokens)
    shown.end(Status.FAILED)
    return None


def _send_dead_letter(
    prompt: LeasedPrompt, failure: Failure, reason: str, tokens: TokenUsage = NO_TOKENS
) -> None:
    """Fail a prompt, and send it to the dead-letter queue for a later redrive."""
    finish_prompt.fail(prompt, failure, clock.now(), tokens)
    log.error("prompt given up", **identify(prompt), reason=reason)
    prompt_queue.send_dead_letter(
        Job(chatroom_id=prompt.chatroom_id, seq=prompt.seq, generation=prompt.generation), reason
    )
