"""The messages table: a room's prompts and replies by their place in it.

A prompt takes place n, its reply n+1, whoever writes it and however often: so a prompt has at most
one reply and a room always reads question, answer, question, answer. Prompts that are not yet
answered or failed stand in the sparse index `unfinished`, where the sweep finds them.
"""

import math
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.exceptions import TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.transactions import TransactWrite

from geminichat.config import setting
from geminichat.domain import ids, times
from geminichat.domain.history import PastTurn
from geminichat.domain.messages import (
    UNAVAILABLE,
    Failure,
    Message,
    NewPrompt,
    Status,
    TokenUsage,
    fingerprint,
)
from geminichat.domain.plans import Plan
from geminichat.domain.quota import Allowance
from geminichat.errors import Conflict, NotFound, Unavailable, Unprocessable
from geminichat.tables import idempotency_keys, subscriptions, usage
from geminichat.tables.chatrooms import Chatroom, Turn
from geminichat.tables.connection import (
    Table,
    failed_conditions,
    get_together,
    transact,
    update_if,
)
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.usage import Usage

FIRST = "0"
"""The generation of a prompt that was never retried."""

SHARDS = 8
"""Partitions of the index of unfinished prompts, so that no one of them takes every write."""


PURGE_AFTER = timedelta(seconds=60)
"""How long a deleted room's messages are left alone: longer than any request lives."""


class Unfinished(GlobalSecondaryIndex["StoredMessage"]):
    """Prompts that are neither answered nor failed, oldest first within a shard."""

    class Meta:
        index_name = "unfinished"
        projection = KeysOnlyProjection()

    unfinished_shard = NumberAttribute(hash_key=True)
    unfinished_since = UnicodeAttribute(range_key=True)


class StoredMessage(Table):
    """A prompt or a reply. A prompt keeps the room's settings as they were when it was sent."""

    class Meta:
        table_name = setting("MESSAGES_TABLE")

    chatroom_id = UnicodeAttribute(hash_key=True)
    seq = NumberAttribute(range_key=True)
    user_id = UnicodeAttribute()
    sender = UnicodeAttribute()
    content = UnicodeAttribute()
    model = UnicodeAttribute()
    created_at = UnicodeAttribute()

    status = UnicodeAttribute(null=True)
    system_instruction = UnicodeAttribute(null=True)
    attempts = NumberAttribute(null=True)
    generation = UnicodeAttribute(null=True)
    retried_at = UnicodeAttribute(null=True)
    requeued = NumberAttribute(null=True)
    lease = UnicodeAttribute(null=True)
    leased_until = UnicodeAttribute(null=True)
    counted_on = UnicodeAttribute(null=True)
    error_code = UnicodeAttribute(null=True)
    error_message = UnicodeAttribute(null=True)
    unfinished_shard = NumberAttribute(null=True)
    unfinished_since = UnicodeAttribute(null=True)

    input_tokens = NumberAttribute(null=True)
    output_tokens = NumberAttribute(null=True)

    unfinished = Unfinished()


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


def add_prompt(
    turn: Turn,
    prompt: NewPrompt,
    allowance: Allowance,
    idempotency_key: str | None = None,
) -> tuple[Message, Allowance]:
    """Store the prompt, queued, and count it on the user's day, both or neither.

    The tables have the last word: where they do not bear out the allowance it is read from them,
    and what they said is returned beside the message. Raises TooManyRequests, and Conflict where
    the idempotency key was used since it was looked for.
    """
    moment = times.text(allowance.now)
    stored = StoredMessage(
        turn.chatroom_id,
        turn.seq,
        user_id=turn.user_id,
        sender="user",
        content=prompt.content,
        model=turn.model,
        system_instruction=turn.system_instruction,
        created_at=moment,
        status=Status.QUEUED,
        attempts=0,
        counted_on=allowance.day,
        unfinished_shard=shard(turn.chatroom_id),
        unfinished_since=moment,
    )
    puts: list[tuple[Table, Condition]] = [(stored, StoredMessage.seq.does_not_exist())]
    if idempotency_key is not None:
        used = idempotency_keys.use(
            turn.user_id,
            idempotency_key,
            fingerprint(turn.chatroom_id, prompt.content),
            turn.chatroom_id,
            turn.seq,
            allowance.now,
        )
        puts.append((used, idempotency_keys.unused(allowance.now)))

    def write(transaction: TransactWrite) -> None:
        for item, condition in puts:
            transaction.save(item, condition)

    try:
        allowance = _count(allowance, write)
    except TransactWriteError as error:
        if idempotency_key is not None and any(failed_conditions(error)):
            raise Conflict(
                "A request with this Idempotency-Key is being handled. Send it again in a moment.",
                code="key-in-use",
            ) from error
        raise
    return view(stored), allowance


def replayed(
    user_id: str,
    chatroom_id: str,
    prompt: NewPrompt,
    idempotency_key: str,
    now: datetime,
) -> Message | None:
    """Return the prompt that this very request stored before, None where the key is unused.

    Raises Unprocessable (key-reused) when the key came with another request.
    """
    used = idempotency_keys.find(user_id, idempotency_key, now)
    if used is None:
        return None
    if used.fingerprint != fingerprint(chatroom_id, prompt.content):
        raise Unprocessable(
            "This Idempotency-Key was used for another request. Use a new key.",
            code="key-reused",
        )
    return get(user_id, used.chatroom_id, ids.message_id(used.chatroom_id, int(used.seq)))


def retry(
    user_id: str, chatroom_id: str, message_id: str, allowance: Allowance, *, generation: str
) -> tuple[Message, Allowance]:
    """Put a failed prompt of the user's room back to queued and count it like a new one.

    `generation` tells this try from the earlier ones.
    Raises NotFound, Conflict (not-failed), TooManyRequests.
    """
    seq = ids.message_seq(ids.known("r", chatroom_id), message_id)
    moment = times.text(allowance.now)

    def write(transaction: TransactWrite) -> None:
        transaction.update(
            Chatroom(user_id, chatroom_id),
            actions=[Chatroom.updated_at.set(moment)],
            condition=Chatroom.chatroom_id.exists(),
        )
        transaction.update(
            StoredMessage(chatroom_id, seq),
            actions=[
                *_queue_again(chatroom_id, generation, moment),
                StoredMessage.counted_on.set(allowance.day),
            ],
            condition=(StoredMessage.status == Status.FAILED) & (StoredMessage.user_id == user_id),
        )

    try:
        allowance = _count(allowance, write)
    except TransactWriteError as error:
        if not any(failed_conditions(error)):
            raise
        get(user_id, chatroom_id, message_id)
        raise Conflict("Only a failed prompt can be retried.", code="not-failed") from error
    return get(user_id, chatroom_id, message_id), allowance


def find_given_up(chatroom_id: str, seq: int) -> str | None:
    """Return the generation of a prompt that failed by Gemini's outage, None for any other."""
    try:
        stored = StoredMessage.get(chatroom_id, seq, consistent_read=True)
    except StoredMessage.DoesNotExist:
        return None
    given_up = stored.status == Status.FAILED and stored.error_code == UNAVAILABLE.code
    return stored.generation or FIRST if given_up else None


def revive(chatroom_id: str, seq: int, generation: str, *, renewed: str, now: datetime) -> bool:
    """Put a prompt that Gemini's outage failed back to queued, its user's quota untouched.

    Only of this generation, which becomes `renewed`: one that was retried since, or that is not
    there any more, stays as it is. Returns whether it was put back.
    """
    moment = times.text(now)
    tried = StoredMessage.generation == generation
    if generation == FIRST:
        tried |= StoredMessage.generation.does_not_exist()
    return update_if(
        StoredMessage(chatroom_id, seq),
        _queue_again(chatroom_id, renewed, moment),
        (StoredMessage.status == Status.FAILED)
        & (StoredMessage.error_code == UNAVAILABLE.code)
        & tried,
    )


def _queue_again(chatroom_id: str, generation: str, moment: str) -> list[Action]:
    return [
        StoredMessage.status.set(Status.QUEUED),
        StoredMessage.attempts.set(0),
        StoredMessage.generation.set(generation),
        StoredMessage.retried_at.set(moment),
        StoredMessage.requeued.remove(),
        StoredMessage.error_code.remove(),
        StoredMessage.error_message.remove(),
        StoredMessage.unfinished_shard.set(shard(chatroom_id)),
        StoredMessage.unfinished_since.set(moment),
    ]


def _count(allowance: Allowance, write: Callable[[TransactWrite], None]) -> Allowance:
    """Commit `write` together with the count of one more prompt, and return the true allowance.

    For pro the transaction checks that the subscription gives pro and that the moment has room,
    for basic that the day has: whatever Redis believed, nothing is stored that the tables do not
    allow.
    """
    for _ in range(3):
        trusted = allowance.plan is Plan.PRO
        counts = usage.one_more(allowance)

        def write_and_count(
            transaction: TransactWrite,
            admitted: Allowance = allowance,
            pro: bool = trusted,
            counted: Sequence[tuple[Usage, list[Action], Condition | None]] = counts,
        ) -> None:
            if pro:
                transaction.condition_check(
                    Subscription,
                    admitted.user_id,
                    condition=subscriptions.is_pro(admitted.now),
                )
            write(transaction)
            for item, actions, room in counted:
                transaction.update(item, actions=actions, condition=room)

        try:
            transact(write_and_count, token=secrets.token_hex(16))
            return allowance
        except TransactWriteError as error:
            failed = failed_conditions(error)
            others = failed[trusted : -len(counts)]
            if any(others) or not any(failed):
                raise
        known = usage.allowance(allowance.user_id, allowance.now)
        if known.reached:
            raise known.refusal()
        allowance = known.with_one_more()
    raise Unavailable()


def get(user_id: str, chatroom_id: str, message_id: str) -> Message:
    """Return a message of the user's room; a prompt with its reply. Raises NotFound."""
    seq = ids.message_seq(ids.known("r", chatroom_id), message_id)
    room, message, following = get_together(
        (Chatroom, user_id, chatroom_id),
        (StoredMessage, chatroom_id, seq),
        (StoredMessage, chatroom_id, seq + 1),
    )
    if room is None or message is None:
        raise NotFound()
    reply = view(following) if message.sender == "user" and following is not None else None
    return view(message, reply=reply, whole=True)


def newest(chatroom_id: str, limit: int, before: int | None) -> tuple[list[Message], int | None]:
    """Return up to `limit` messages before a place, oldest first, and where older ones end."""
    earlier = StoredMessage.seq.between(1, before - 1) if before else StoredMessage.seq > 0
    found, more = _read(chatroom_id, earlier, limit, scan_index_forward=False)
    oldest = int(found[-1].seq) if more else None
    return [view(message) for message in reversed(found)], oldest if oldest != 1 else None


def after(chatroom_id: str, seq: int, limit: int) -> tuple[list[Message], int | None]:
    """Return up to `limit` messages after a place, oldest first, and the place to go on after."""
    found, more = _read(chatroom_id, StoredMessage.seq > seq, limit)
    return [view(message) for message in found], int(found[-1].seq) if more else None


def _read(
    chatroom_id: str, where: Condition, limit: int, **how: Any
) -> tuple[list[StoredMessage], bool]:
    """Return what one call brings, up to `limit` messages or a megabyte, and whether more follow.

    At exactly `limit` messages more *may* follow: to be sure would cost reading one more.
    """
    query = StoredMessage.query(chatroom_id, where, consistent_read=True, limit=limit, **how)
    page: dict[str, Any] = next(query.page_iter)
    found = [StoredMessage.from_raw_data(item) for item in page["Items"]]
    return found, bool(found) and "LastEvaluatedKey" in page


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
    read, _ = _read(
        prompt.chatroom_id,
        StoredMessage.seq < prompt.seq,
        2 * turns,
        scan_index_forward=False,
        attributes_to_get=["seq", "sender", "status", "content"],
    )
    found = {int(message.seq): message for message in read}
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

    def write(transaction: TransactWrite) -> None:
        transaction.save(reply, StoredMessage.seq.does_not_exist())
        transaction.update(
            StoredMessage(prompt.chatroom_id, prompt.seq),
            actions=[StoredMessage.status.set(Status.ANSWERED), *_finish()],
            condition=_mine(prompt),
        )
        transaction.update(
            Usage(prompt.user_id, times.day(now)),
            actions=usage.count_tokens(tokens, now),
        )

    _close(write)


def fail(prompt: Claimed, failure: Failure) -> None:
    """Mark the prompt failed, saying why, and give its place in the day's quota back, both or none.

    Raises LeaseLost when the prompt is no longer this worker's.
    """

    def write(transaction: TransactWrite) -> None:
        transaction.update(
            StoredMessage(prompt.chatroom_id, prompt.seq),
            actions=[
                StoredMessage.status.set(Status.FAILED),
                StoredMessage.error_code.set(failure.code),
                StoredMessage.error_message.set(failure.message),
                StoredMessage.counted_on.remove(),
                *_finish(),
            ],
            condition=_mine(prompt),
        )
        if prompt.counted_on:
            transaction.update(
                Usage(prompt.user_id, prompt.counted_on),
                actions=[Usage.prompts.add(-1)],
            )

    _close(write)


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


def bury_room(user_id: str, chatroom_id: str, now: datetime) -> None:
    """Delete the user's room, and leave a note for the sweep to delete its messages.

    The note stands in place 0 and among the unfinished, dated ahead by more than any request
    lives, so that a prompt being stored at this moment is deleted as well. Raises NotFound.
    """
    note = StoredMessage(
        ids.known("r", chatroom_id),
        0,
        user_id=user_id,
        sender="note",
        content="",
        model="",
        created_at=times.text(now),
        unfinished_shard=shard(chatroom_id),
        unfinished_since=times.text(now + PURGE_AFTER),
    )

    def write(transaction: TransactWrite) -> None:
        transaction.delete(Chatroom(user_id, chatroom_id), Chatroom.chatroom_id.exists())
        transaction.save(note)

    try:
        transact(write, token=secrets.token_hex(16))
    except TransactWriteError as error:
        if any(failed_conditions(error)):
            raise NotFound() from error
        raise


def purge(chatroom_id: str, until: float) -> bool:
    """Delete a deleted room's messages, its note last; return False if time ran out before that.

    `until` is a moment of the monotonic clock. Looks again until nothing is left: a worker may be
    storing a reply meanwhile, though no longer once the reply's prompt is gone.
    """
    left = True
    while left:
        left = False
        keys = StoredMessage.query(
            chatroom_id,
            StoredMessage.seq > 0,
            consistent_read=True,
            attributes_to_get=["chatroom_id", "seq"],
            page_size=500,
        )
        with StoredMessage.batch_write() as batch:
            for key in keys:
                if time.monotonic() > until:
                    return False
                batch.delete(StoredMessage(chatroom_id, int(key.seq)))
                left = True
    StoredMessage(chatroom_id, 0).delete()
    return True


def _close(write: Callable[[TransactWrite], None]) -> None:
    try:
        transact(write, token=secrets.token_hex(16))
    except TransactWriteError as error:
        if any(failed_conditions(error)):
            raise LeaseLost() from error
        raise


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


def shard(chatroom_id: str) -> int:
    """Return the shard of the unfinished index that a room's prompts stand in."""
    return zlib.crc32(chatroom_id.encode()) % SHARDS


def view(stored: StoredMessage, *, reply: Message | None = None, whole: bool = False) -> Message:
    """Return a message as the wire shows it; `whole` shows a prompt's reply, be it null."""
    item = stored.attribute_values  # at once: a page asks for two hundred of them
    room_id, seq = item["chatroom_id"], int(item["seq"])
    if item["sender"] == "ai":
        return Message(
            id=ids.message_id(room_id, seq),
            sender="ai",
            content=item["content"],
            created_at=item["created_at"],
            reply_to=ids.message_id(room_id, seq - 1),
            model=item["model"],
            usage=TokenUsage(
                input_tokens=int(item.get("input_tokens") or 0),
                output_tokens=int(item.get("output_tokens") or 0),
            ),
        )
    status = Status(item.get("status") or Status.QUEUED)
    failure = None
    if status is Status.FAILED and (code := item.get("error_code")):
        failure = Failure(code=code, message=item.get("error_message") or "")
    return Message(
        id=ids.message_id(room_id, seq),
        sender="user",
        content=item["content"],
        created_at=item["created_at"],
        status=status,
        error=failure,
        reply=reply if whole else UNSET,
    )
