"""What becomes of a prompt: a worker claims it under a lease and answers or fails it.

What no worker has come to an end with, the sweep finds here.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat.domain import times
from geminichat.domain.history import PastTurn
from geminichat.domain.messages import (
    Failure,
    Status,
    TokenUsage,
)
from geminichat.tables import usage
from geminichat.tables.messages import FIRST, StoredMessage, read
from geminichat.tables.table import Write, put, transact_if, update, update_if
from geminichat.tables.usage import Usage


class LeaseLost(Exception):
    """Another worker holds the prompt by now, or it is final already."""


class Claimed(msgspec.Struct, frozen=True):
    """A prompt that is this worker's until its lease ends; `lease` is the fencing token."""

    user_id: str
    chatroom_id: str
    seq: int
    content: str
    model: str
    system_instruction: str | None
    attempts: int
    lease: str
    counted_on: str | None
    sent: datetime
    generation: str


def claim(
    chatroom_id: str, seq: int, lease: str, now: datetime, lasting: timedelta
) -> Claimed | None:
    """Take a queued prompt, or one whose lease has run out, and count the attempt.

    Returns None where there is nothing to take: gone, final, or another worker's.
    """
    moment = times.text(now)
    stored = StoredMessage(chatroom_id, seq)
    takeable = (StoredMessage.status == Status.QUEUED) | (
        (StoredMessage.status == Status.GENERATING)
        # A try whose answer was lost has left our own lease there.
        & ((StoredMessage.leased_until < moment) | (StoredMessage.lease == lease))
    )
    if not update_if(
        stored,
        [
            StoredMessage.status.set(Status.GENERATING),
            StoredMessage.lease.set(lease),
            StoredMessage.leased_until.set(times.text(now + lasting)),
            StoredMessage.attempts.add(1),
        ],
        takeable,
    ):
        return None
    return Claimed(
        user_id=stored.user_id,
        chatroom_id=chatroom_id,
        seq=seq,
        content=stored.content,
        model=stored.model,
        system_instruction=stored.system_instruction,
        attempts=int(stored.attempts or 0),
        lease=lease,
        counted_on=stored.counted_on,
        sent=_sent(stored),
        generation=stored.generation or FIRST,
    )


def _sent(prompt: StoredMessage) -> datetime:
    return times.parse(prompt.retried_at or prompt.created_at)


def wait_for(chatroom_id: str, seq: int, now: datetime) -> int | None:
    """Return seconds to wait for a prompt that could not be claimed; None for a final one."""
    try:
        stored = StoredMessage.get(chatroom_id, seq, consistent_read=True)
    except StoredMessage.DoesNotExist:
        return None
    if stored.status == Status.QUEUED:
        return 1
    if stored.status != Status.GENERATING or not stored.leased_until:
        return None
    left = (times.parse(stored.leased_until) - now).total_seconds()
    return max(1, math.ceil(left))


def release(prompt: Claimed) -> None:
    """Put a claimed prompt back to queued, for a later attempt; a lost one stays as it is."""
    update_if(
        StoredMessage(prompt.chatroom_id, prompt.seq),
        [
            StoredMessage.status.set(Status.QUEUED),
            StoredMessage.lease.remove(),
            StoredMessage.leased_until.remove(),
        ],
        _mine(prompt),
    )


def history(prompt: Claimed, turns: int) -> list[PastTurn]:
    """Return the answered turns before a prompt, oldest first, at most `turns` of them."""
    page, _ = read(
        prompt.chatroom_id,
        StoredMessage.seq < prompt.seq,
        2 * turns,
        scan_index_forward=False,
        attributes_to_get=["seq", "sender", "status", "content"],
    )
    found = {int(message.seq): message for message in page}
    return [
        PastTurn(prompt=message.content, reply=found[seq + 1].content)
        for seq, message in sorted(found.items())
        if message.status == Status.ANSWERED and seq + 1 in found
    ]


def answer(prompt: Claimed, content: str, tokens: TokenUsage, now: datetime) -> None:
    """Store the reply, mark the prompt answered and count the tokens, all or nothing.

    Raises LeaseLost when the prompt is no longer this worker's.
    """
    reply = StoredMessage(
        prompt.chatroom_id,
        prompt.seq + 1,
        user_id=prompt.user_id,
        sender="ai",
        content=content,
        model=prompt.model,
        created_at=times.text(now),
        input_tokens=tokens.input_tokens,
        output_tokens=tokens.output_tokens,
    )

    _close(
        put("reply", reply, StoredMessage.seq.does_not_exist()),
        update(
            "prompt",
            StoredMessage(prompt.chatroom_id, prompt.seq),
            [StoredMessage.status.set(Status.ANSWERED), *_finish()],
            _mine(prompt),
        ),
        update("usage", Usage(prompt.user_id, times.day(now)), usage.count_tokens(tokens, now)),
    )


def fail(prompt: Claimed, failure: Failure) -> None:
    """Mark the prompt failed, saying why, and give its place in the day's quota back, both or none.

    Raises LeaseLost when the prompt is no longer this worker's.
    """
    writes = [
        update(
            "prompt",
            StoredMessage(prompt.chatroom_id, prompt.seq),
            [
                StoredMessage.status.set(Status.FAILED),
                StoredMessage.error_code.set(failure.code),
                StoredMessage.error_message.set(failure.message),
                StoredMessage.counted_on.remove(),
                *_finish(),
            ],
            _mine(prompt),
        )
    ]
    if prompt.counted_on:
        day = Usage(prompt.user_id, prompt.counted_on)
        writes.append(update("usage", day, [Usage.prompts.add(-1)]))
    _close(*writes)


def unfinished(shard: int, before: datetime) -> Iterator[tuple[str, int]]:
    """Yield room and place of what has been unfinished in a shard since before a moment."""
    for key in StoredMessage.unfinished.query(
        shard, StoredMessage.unfinished_since < times.text(before)
    ):
        yield key.chatroom_id, int(key.seq)


class Waiting(msgspec.Struct, frozen=True):
    """A prompt that is neither answered nor failed; `sent` is when it was sent, or sent again."""

    sent: datetime
    attempts: int
    leased_until: datetime | None
    generation: str
    requeued: int
    since: str


def find_waiting(chatroom_id: str, seq: int) -> Waiting | None:
    """Return a prompt that is neither answered nor failed; None for any other message."""
    try:
        stored = StoredMessage.get(chatroom_id, seq, consistent_read=True)
    except StoredMessage.DoesNotExist:
        return None
    if stored.unfinished_since is None or stored.sender != "user":
        return None
    return Waiting(
        sent=_sent(stored),
        attempts=int(stored.attempts or 0),
        leased_until=times.parse(stored.leased_until) if stored.leased_until else None,
        generation=stored.generation or FIRST,
        requeued=int(stored.requeued or 0),
        since=stored.unfinished_since,
    )


def look_again(
    chatroom_id: str, seq: int, waiting: Waiting, now: datetime, pause: timedelta
) -> bool:
    """Note that a waiting prompt is queued again; the pause to the next look at it doubles.

    Returns False when another sweep was faster or the prompt is finished.
    """
    later = now + pause * (2 ** min(waiting.requeued, 8) - 1)
    return update_if(
        StoredMessage(chatroom_id, seq),
        [
            StoredMessage.requeued.set(waiting.requeued + 1),
            StoredMessage.unfinished_since.set(times.text(later)),
        ],
        StoredMessage.unfinished_since == waiting.since,
    )


def _close(*writes: Write) -> None:
    if not transact_if(*writes):
        raise LeaseLost()


def _mine(prompt: Claimed) -> Condition:
    held: Condition = StoredMessage.lease == prompt.lease
    return held


def _finish() -> Sequence[Action]:
    return [
        StoredMessage.lease.remove(),
        StoredMessage.leased_until.remove(),
        StoredMessage.unfinished_shard.remove(),
        StoredMessage.unfinished_since.remove(),
    ]
