"""Prompts as they are sent, and sent again: stored and counted in one transaction."""

from datetime import datetime

from pynamodb.expressions.update import Action

from geminichat.domain import ids, times
from geminichat.domain.messages import (
    UNAVAILABLE,
    Message,
    NewPrompt,
    Status,
    fingerprint,
)
from geminichat.domain.plans import Plan
from geminichat.domain.quota import Allowance
from geminichat.errors import KeyInUse, KeyReused, NotFailed, Unavailable
from geminichat.tables import idempotency_keys, subscriptions, usage
from geminichat.tables.chatrooms import Chatroom, Turn
from geminichat.tables.messages import FIRST, StoredMessage, get, shard, view
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.table import ConditionsFailed, Write, check, put, transact, update, update_if


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
    writes = [put("prompt", stored, StoredMessage.seq.does_not_exist())]
    if idempotency_key is not None:
        used = idempotency_keys.use(
            turn.user_id,
            idempotency_key,
            fingerprint(turn.chatroom_id, prompt.content),
            turn.chatroom_id,
            turn.seq,
            allowance.now,
        )
        writes.append(put("idempotency key", used, idempotency_keys.unused(allowance.now)))

    try:
        allowance = _count(allowance, *writes)
    except ConditionsFailed as error:
        if error.of("idempotency key"):
            raise KeyInUse() from error
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

    Raises KeyReused when the key came with another request.
    """
    used = idempotency_keys.find(user_id, idempotency_key, now)
    if used is None:
        return None
    if used.fingerprint != fingerprint(chatroom_id, prompt.content):
        raise KeyReused()
    return get(user_id, used.chatroom_id, ids.message_id(used.chatroom_id, int(used.seq)))


def retry(
    user_id: str, chatroom_id: str, message_id: str, allowance: Allowance, *, generation: str
) -> tuple[Message, Allowance]:
    """Put a failed prompt of the user's room back to queued and count it like a new one.

    `generation` tells this try from the earlier ones.
    Raises NotFound, NotFailed, TooManyRequests.
    """
    seq = ids.message_seq(ids.known("r", chatroom_id), message_id)
    moment = times.text(allowance.now)

    room = update(
        "room",
        Chatroom(user_id, chatroom_id),
        [Chatroom.updated_at.set(moment)],
        Chatroom.chatroom_id.exists(),
    )
    prompt = update(
        "prompt",
        StoredMessage(chatroom_id, seq),
        [
            *_queue_again(chatroom_id, generation, moment),
            StoredMessage.counted_on.set(allowance.day),
        ],
        (StoredMessage.status == Status.FAILED) & (StoredMessage.user_id == user_id),
    )
    try:
        allowance = _count(allowance, room, prompt)
    except ConditionsFailed as error:
        get(user_id, chatroom_id, message_id)
        raise NotFailed() from error
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


def _count(allowance: Allowance, *writes: Write) -> Allowance:
    """Commit the writes together with the count of one more prompt; return the true allowance.

    For pro the transaction checks that the subscription gives pro and that the burst window has
    room, for basic that the day has: whatever Redis answered, nothing is stored that the tables do
    not allow. Raises ConditionsFailed if one of `writes` failed, TooManyRequests.
    """
    for _ in range(3):
        counts = usage.one_more(allowance)
        if allowance.plan is Plan.PRO:
            subscription = Subscription(allowance.user_id)
            counts.append(check("plan", subscription, subscriptions.is_pro(allowance.now)))
        try:
            transact(*writes, *counts)
            return allowance
        except ConditionsFailed as error:
            if not error.only(*(count.name for count in counts)):
                raise
        known = usage.allowance(allowance.user_id, allowance.now)
        if known.reached:
            raise known.refusal()
        allowance = known.with_one_more()
    raise Unavailable()
