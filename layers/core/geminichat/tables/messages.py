"""The messages table: a room's prompts and replies by their position (`seq`).

A prompt has position n and its reply n+1, so a prompt has at most one reply and a room always reads
prompt, reply, prompt, reply. Unfinished prompts (neither answered nor failed) are in the sparse
index `unfinished`, where the sweep finds them. Position 0 is a deleted room's tombstone.
"""

import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from geminichat.domain import ids, times
from geminichat.domain.history import PastTurn
from geminichat.domain.lines import Hidden, Range
from geminichat.domain.live import Partial
from geminichat.domain.messages import (
    REDRIVABLE,
    UNFINISHED,
    Failure,
    Finish,
    Message,
    Status,
    TokenUsage,
    read_member,
)
from geminichat.domain.models import Choice, Thinking
from geminichat.domain.plans import Plan
from geminichat.domain.rooms import Room
from geminichat.domain.sessions import Claims
from geminichat.domain.spending import Reservation
from geminichat.errors import NotFound, RoomTooLong, StillGenerating
from geminichat.tables import chatrooms, live, pieces, users
from geminichat.tables.chatrooms import Turn
from geminichat.tables.table import (
    Key,
    Table,
    Write,
    delete,
    overlap,
    put,
    read_page,
    update,
    update_if,
)

FIRST = "0"
"""The generation of a prompt that was never retried."""

SHARDS = 8
"""Partitions of the index of unfinished prompts, which spread its writes."""

TOMBSTONE_SEQ = 0

PURGE_AFTER = timedelta(seconds=60)
"""Age at which a tombstone's messages are deleted: longer than any request takes."""


class LeaseLost(Exception):
    """Another worker has leased the prompt since, or it is final."""


FORK_TURNS = 1_000
FORK_SIZE = 4_000_000
"""Bytes that one partition of DynamoDB accepts in four seconds."""

COPIED = [
    "user_id",
    "sender",
    "content",
    "model",
    "created_at",
    "status",
    "system_instruction",
    "error_code",
    "error_message",
    "requested_model",
    "thinking",
    "max_output_tokens",
    "finish",
    "input_tokens",
    "output_tokens",
]
"""The attributes of a message that its copy in a fork has too."""

PAGE_LENGTH = 1_000_000
"""Characters of a page after which no further messages are read to fill it up."""

type Page = tuple[list[dict[str, Any]], bool]
"""Messages by attribute, and whether more may follow."""


class Unfinished(GlobalSecondaryIndex["StoredMessage"]):
    """Unfinished prompts and tombstones, oldest first within a shard."""

    class Meta:
        index_name = "unfinished"
        projection = KeysOnlyProjection()

    unfinished_shard = NumberAttribute(hash_key=True)
    unfinished_since = UnicodeAttribute(range_key=True)


class Failed(GlobalSecondaryIndex["StoredMessage"]):
    """Failed prompts by the code of their failure, oldest first."""

    class Meta:
        index_name = "failed"
        projection = KeysOnlyProjection()

    error_code = UnicodeAttribute(hash_key=True)
    failed_at = UnicodeAttribute(range_key=True)


class StoredMessage(Table):
    """A prompt or a reply. A prompt keeps the room's settings of the time it was sent."""

    class Meta:
        setting = "MESSAGES_TABLE"

    chatroom_id = UnicodeAttribute(hash_key=True)
    seq = NumberAttribute(range_key=True)
    user_id = UnicodeAttribute()
    sender = UnicodeAttribute()
    content = UnicodeAttribute()
    model = UnicodeAttribute()
    created_at = UnicodeAttribute()

    status = UnicodeAttribute(null=True)
    system_instruction = UnicodeAttribute(null=True)
    hidden = UnicodeAttribute(null=True)  # JSON: the ranges that its room hid then
    attempts = NumberAttribute(null=True)
    attempt = NumberAttribute(null=True)  # the number of the latest one, retries included
    stop = BooleanAttribute(null=True)  # its user has asked to stop it
    generation = UnicodeAttribute(null=True)
    retried_at = UnicodeAttribute(null=True)
    requeued = NumberAttribute(null=True)
    lease = UnicodeAttribute(null=True)
    leased_until = UnicodeAttribute(null=True)
    counted_on = UnicodeAttribute(null=True)
    error_code = UnicodeAttribute(null=True)
    error_message = UnicodeAttribute(null=True)
    failed_at = UnicodeAttribute(null=True)
    unfinished_shard = NumberAttribute(null=True)
    unfinished_since = UnicodeAttribute(null=True)

    requested_model = UnicodeAttribute(null=True)
    thinking = UnicodeAttribute(null=True)
    max_output_tokens = NumberAttribute(null=True)
    finish = UnicodeAttribute(null=True)
    input_tokens = NumberAttribute(null=True)  # a prompt's: of attempts that brought no reply
    output_tokens = NumberAttribute(null=True)
    reservation = UnicodeAttribute(null=True)  # a Reservation in JSON
    title_due = BooleanAttribute(null=True)  # the room was titled by default

    unfinished = Unfinished()
    failed = Failed()


# ── Reading ───────────────────────────────────────────────────────────────────────────────────────


def key_of(chatroom_id: str, seq: int) -> Key:
    """Return the key of a message, to read it together with other items."""
    return Key(StoredMessage, chatroom_id, seq)


def get(
    caller: Claims, chatroom_id: str, message_id: str, now: datetime, start: int | None = None
) -> Message:
    """Return a message of the user's room; a prompt with its reply.

    A prompt that is being answered comes with its reply's text from `start` on, if that is given.
    Raises NotFound, and Unauthorized if the session has ended.
    """
    seq = ids.message_seq(ids.parse_room(chatroom_id), message_id)
    _, room, message, following, *watched = users.current(
        caller.user_id,
        caller.session_id,
        now,
        chatrooms.key_of(caller.user_id, chatroom_id),
        key_of(chatroom_id, seq),
        key_of(chatroom_id, seq + 1),
        *([] if start is None else [live.key_of(caller.user_id)]),
    )
    if room is None or message is None:
        raise NotFound()
    hidden = chatrooms.line_of(room).hidden.has_position(seq) or UNSET
    shown = msgspec.structs.replace(_view(message.attribute_values), hidden=hidden)
    if message.sender == "ai":
        return shown
    reply = _view(following.attribute_values) if following else None
    partial: Partial | UnsetType = UNSET
    if start is not None and message.status in UNFINISHED:
        live.note_poll(caller.user_id, watched[0], now)
    if start is not None and message.status == Status.GENERATING:
        partial = pieces.read_text(chatroom_id, seq, int(message.attempt or 0), start)
    return msgspec.structs.replace(shown, reply=reply, partial=partial)


def read_newest(
    caller: Claims, chatroom_id: str, limit: int, before: int | None, now: datetime
) -> tuple[Room, list[Message], int | None]:
    """Return the user's room, up to `limit` messages before a position, and where to continue.

    The messages are the newest ones, oldest first. Raises NotFound, and Unauthorized if the
    session has ended.
    """
    (room, hidden), first = overlap(
        lambda: chatrooms.get(caller, chatroom_id, now),
        lambda: _read_back(chatroom_id, before, limit),
    )
    items, more = _fill_back(chatroom_id, first, limit, hidden)
    earlier = hidden.skip_back(int(items[-1]["seq"]) - 1) if more else 0
    return room, [_view(item) for item in reversed(items)], earlier + 1 if earlier else None


def read_after(
    caller: Claims, chatroom_id: str, seq: int, limit: int, now: datetime
) -> tuple[list[Message], int | None, bool]:
    """Return up to `limit` messages of the user's room after a position, and where to continue.

    The last value is whether the message at the position is hidden. Raises NotFound, and
    Unauthorized if the session has ended.
    """

    def read(position: int, limit: int) -> Page:
        return _read_page(chatroom_id, StoredMessage.seq > position, limit)

    (_, hidden), first = overlap(
        lambda: chatrooms.get(caller, chatroom_id, now), lambda: read(seq, limit)
    )
    items, more = _fill(
        first, limit, hidden, lambda last, left: read(hidden.skip_forward(last + 1) - 1, left)
    )
    last = hidden.skip_forward(int(items[-1]["seq"]) + 1) - 1 if more else None
    return [_view(item) for item in items], last, hidden.has_position(seq)


class Past(msgspec.Struct, frozen=True):
    """The latest turns before a prompt."""

    turns: list[PastTurn]
    """The turns with a reply, oldest first."""
    unfinished: list[int]
    """The positions of the prompts that are neither answered nor failed, oldest first."""


def read_past(chatroom_id: str, before: int, limit: int, hidden: Hidden) -> Past:
    """Return the last `limit` turns before a position that are not hidden."""
    attributes = ["seq", "sender", "status", "content"]
    start = hidden.skip_back(before - 1) + 1
    first = _read_back(chatroom_id, start, 2 * limit, attributes)
    items, _ = _fill_back(chatroom_id, first, 2 * limit, hidden, attributes)
    found = {int(item["seq"]): item for item in items}
    prompts = [(seq, item) for seq, item in sorted(found.items()) if item["sender"] == "user"]
    return Past(
        [
            PastTurn(prompt=item["content"], reply=found[seq + 1]["content"])
            for seq, item in prompts
            if seq + 1 in found
        ],
        [seq for seq, item in prompts if item.get("status") in UNFINISHED],
    )


def _read_back(
    chatroom_id: str, before: int | None, limit: int, attributes: list[str] | None = None
) -> Page:
    """Return up to `limit` messages before a position, newest first."""
    if before == 1:
        return [], False
    earlier = StoredMessage.seq.between(1, before - 1) if before else StoredMessage.seq > 0
    return _read_page(
        chatroom_id, earlier, limit, scan_index_forward=False, attributes_to_get=attributes
    )


def _fill_back(
    chatroom_id: str,
    first: Page,
    limit: int,
    hidden: Hidden,
    attributes: list[str] | None = None,
) -> Page:
    def read(last: int, left: int) -> Page:
        return _read_back(chatroom_id, hidden.skip_back(last - 1) + 1, left, attributes)

    return _fill(first, limit, hidden, read)


def _fill(first: Page, limit: int, hidden: Hidden, read: Callable[[int, int], Page]) -> Page:
    """Return a page without its hidden messages, filled up from the messages that follow.

    `read` takes a position and a number, and returns at most as many messages that follow it. A
    page may stay shorter if its messages are long.
    """
    (page, more), asked = first, limit
    shown: list[dict[str, Any]] = []
    while True:
        shown += [item for item in page if not hidden.has_position(int(item["seq"]))]
        is_long = len(page) < asked or sum(len(item["content"]) for item in shown) > PAGE_LENGTH
        if not more or len(shown) == limit or (shown and is_long):
            return shown, more
        asked = limit - len(shown)
        page, more = read(int(page[-1]["seq"]), asked)


def _read_page(chatroom_id: str, positions: Condition, limit: int, **options: Any) -> Page:
    """Return up to `limit` messages at these positions, and whether more may follow."""
    return read_page(
        StoredMessage.query(chatroom_id, positions, consistent_read=True, limit=limit, **options)
    )


def _view(item: Mapping[str, Any]) -> Message:
    """Return a message as the wire shows it, from its attributes by name."""
    room_id, seq = item["chatroom_id"], int(item["seq"])
    if item["sender"] == "ai":
        return Message(
            id=ids.message_id(room_id, seq),
            sender="ai",
            content=item["content"],
            created_at=item["created_at"],
            reply_to=ids.message_id(room_id, seq - 1),
            model=item["model"],
            requested_model=item.get("requested_model") or UNSET,
            finish=read_member(Finish, item.get("finish") or Finish.COMPLETE),
            usage=_tokens(item.get("input_tokens"), item.get("output_tokens")),
        )
    status = read_member(Status, item.get("status") or Status.QUEUED)
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
    )


def _tokens(input_tokens: Any, output_tokens: Any) -> TokenUsage:
    return TokenUsage(input_tokens=int(input_tokens or 0), output_tokens=int(output_tokens or 0))


def _find(chatroom_id: str, seq: int) -> StoredMessage | None:
    try:
        return StoredMessage.get(chatroom_id, seq, consistent_read=True)
    except StoredMessage.DoesNotExist:
        return None


# ── Sending ───────────────────────────────────────────────────────────────────────────────────────


def put_prompt(
    turn: Turn, content: str, choice: Choice, reservation: Reservation, now: datetime
) -> Write:
    """Return the write "prompt", which stores a queued prompt."""
    moment = times.text(now)
    prompt = StoredMessage(
        turn.chatroom_id,
        turn.seq,
        user_id=turn.user_id,
        sender="user",
        content=content,
        model=choice.model.id,
        requested_model=turn.model,
        thinking=turn.thinking,
        max_output_tokens=choice.max_output_tokens,
        system_instruction=turn.system_instruction,
        hidden=msgspec.json.encode(turn.hidden.ranges).decode() if turn.hidden.ranges else None,
        title_due=turn.title_due or None,
        created_at=moment,
        status=Status.QUEUED,
        attempts=0,
        counted_on=reservation.day,
        reservation=_encode(reservation),
        unfinished_shard=shard(turn.chatroom_id),
        unfinished_since=moment,
    )
    return put("prompt", prompt, StoredMessage.seq.does_not_exist())


def find_last(chatroom_id: str) -> int:
    """Return the position of the last prompt's reply, which may not be stored yet; 0 for none."""
    items, _ = _read_back(chatroom_id, None, 1, ["seq"])
    last = int(items[0]["seq"]) if items else 0
    return last + last % 2


class SentBefore(msgspec.Struct, frozen=True):
    """A prompt that was sent before, with the room's settings of that time."""

    turn: Turn
    content: str
    created_at: str
    status: Status
    is_hidden: bool


def get_prompt(caller: Claims, chatroom_id: str, seq: int, now: datetime) -> SentBefore:
    """Return a prompt of the user's room.

    Raises NotFound, and Unauthorized if the session has ended.
    """
    room, prompt = _get_prompt(caller, chatroom_id, seq, now)
    turn = Turn(
        user_id=caller.user_id,
        chatroom_id=chatroom_id,
        seq=seq,
        model=prompt.requested_model or prompt.model,
        thinking=prompt.thinking,
        system_instruction=prompt.system_instruction,
        hidden=_hidden_of(prompt),
    )
    is_hidden = chatrooms.line_of(room).hidden.has_position(seq)
    status = read_member(Status, prompt.status)
    return SentBefore(turn, prompt.content, prompt.created_at, status, is_hidden)


def _get_prompt(
    caller: Claims, chatroom_id: str, seq: int, now: datetime
) -> tuple[chatrooms.Chatroom, StoredMessage]:
    _, room, prompt = users.current(
        caller.user_id,
        caller.session_id,
        now,
        chatrooms.key_of(caller.user_id, chatroom_id),
        Key(StoredMessage, chatroom_id, seq),
    )
    if room is None or prompt is None or prompt.sender != "user":
        raise NotFound()
    return room, prompt


def retry_prompt(
    turn: Turn, choice: Choice, reservation: Reservation, generation: str, now: datetime
) -> Write:
    """Return the write "prompt", which queues a failed prompt again."""
    return update(
        "prompt",
        StoredMessage(turn.chatroom_id, turn.seq),
        [
            *_requeue(turn.chatroom_id, generation, now),
            StoredMessage.model.set(choice.model.id),
            StoredMessage.max_output_tokens.set(choice.max_output_tokens),
            StoredMessage.counted_on.set(reservation.day),
            StoredMessage.reservation.set(_encode(reservation)),
        ],
        StoredMessage.status == Status.FAILED,
    )


def _encode(reservation: Reservation) -> str:
    return msgspec.json.encode(reservation).decode()


def _decode(reservation: str | None) -> Reservation | None:
    return msgspec.json.decode(reservation, type=Reservation) if reservation else None


def list_failed(code: str, since: datetime) -> Iterator[tuple[str, int]]:
    """Yield room and position of the prompts that failed with a code since a time, oldest first."""
    for key in StoredMessage.failed.query(code, StoredMessage.failed_at >= times.text(since)):
        yield key.chatroom_id, int(key.seq)


class RedrivablePrompt(msgspec.Struct, frozen=True):
    """A prompt that failed for a reason that has nothing to do with its user."""

    generation: str
    reason: str
    """The code of its failure."""


def find_redrivable(chatroom_id: str, seq: int) -> RedrivablePrompt | None:
    """Return a prompt that failed for a reason in REDRIVABLE; None for any other message."""
    prompt = _find(chatroom_id, seq)
    if prompt and prompt.status == Status.FAILED and prompt.error_code in REDRIVABLE:
        return RedrivablePrompt(prompt.generation or FIRST, prompt.error_code)
    return None


def redrive_prompt(
    chatroom_id: str, seq: int, generation: str, new_generation: str, now: datetime
) -> bool:
    """Queue a prompt that failed for a reason in REDRIVABLE; return whether it was queued.

    The prompt is not counted again, though its price is. Only this generation is queued: a prompt
    that was retried or deleted meanwhile stays unchanged.
    """
    same = StoredMessage.generation == generation
    if generation == FIRST:
        same |= StoredMessage.generation.does_not_exist()
    return update_if(
        StoredMessage(chatroom_id, seq),
        _requeue(chatroom_id, new_generation, now),
        (StoredMessage.status == Status.FAILED)
        & StoredMessage.error_code.is_in(*REDRIVABLE)
        & same,
    )


def _requeue(chatroom_id: str, generation: str, now: datetime) -> list[Action]:
    moment = times.text(now)
    return [
        StoredMessage.status.set(Status.QUEUED),
        StoredMessage.attempts.set(0),
        StoredMessage.generation.set(generation),
        StoredMessage.retried_at.set(moment),
        StoredMessage.requeued.remove(),
        StoredMessage.error_code.remove(),
        StoredMessage.error_message.remove(),
        StoredMessage.failed_at.remove(),
        StoredMessage.input_tokens.remove(),  # counted when the prompt failed
        StoredMessage.output_tokens.remove(),
        StoredMessage.unfinished_shard.set(shard(chatroom_id)),
        StoredMessage.unfinished_since.set(moment),
    ]


# ── Answering ─────────────────────────────────────────────────────────────────────────────────────


class LeasedPrompt(msgspec.Struct, frozen=True):
    """A prompt that one worker holds until its lease ends; `lease` is the fencing token."""

    user_id: str
    chatroom_id: str
    seq: int
    content: str
    model: str
    requested_model: str
    thinking: Thinking | None
    max_output_tokens: int | None
    system_instruction: str | None
    attempts: int
    attempt: int
    """The number of this attempt, which only grows: those before a retry are counted, too."""
    stop: bool
    """Whether its user has asked to stop it."""
    tokens: TokenUsage
    """The tokens of earlier attempts."""
    lease: str
    counted_on: str | None
    reservation: Reservation | None
    """None for a prompt that was redriven: nothing is reserved for it."""
    sent: datetime
    generation: str
    hidden: Hidden
    """The ranges that its room hid when it was sent."""
    title_due: bool
    """Whether the room was titled by default when the prompt was sent."""


def lease_prompt(
    chatroom_id: str, seq: int, lease: str, now: datetime, duration: timedelta
) -> LeasedPrompt | None:
    """Lease a queued prompt, or one whose lease has ended, and count the attempt.

    Returns None if the prompt is missing, final or leased by another worker.
    """
    moment = times.text(now)
    prompt = StoredMessage(chatroom_id, seq)
    available = (StoredMessage.status == Status.QUEUED) | (
        (StoredMessage.status == Status.GENERATING)
        # The same lease is there if the answer to the first try of this call was lost.
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
    return LeasedPrompt(
        user_id=prompt.user_id,
        chatroom_id=chatroom_id,
        seq=seq,
        content=prompt.content,
        model=prompt.model,
        requested_model=prompt.requested_model or prompt.model,
        thinking=Thinking.read(prompt.thinking),
        max_output_tokens=int(prompt.max_output_tokens) if prompt.max_output_tokens else None,
        system_instruction=prompt.system_instruction,
        attempts=int(prompt.attempts or 0),
        attempt=int(prompt.attempt or 0),
        stop=bool(prompt.stop),
        tokens=_tokens(prompt.input_tokens, prompt.output_tokens),
        lease=lease,
        counted_on=prompt.counted_on,
        reservation=_decode(prompt.reservation),
        sent=_sent_at(prompt),
        generation=prompt.generation or FIRST,
        hidden=_hidden_of(prompt),
        title_due=bool(prompt.title_due),
    )


def _hidden_of(prompt: StoredMessage) -> Hidden:
    if not prompt.hidden:
        return Hidden()
    return Hidden.of(msgspec.json.decode(prompt.hidden, type=list[Range]))


def _sent_at(prompt: StoredMessage) -> datetime:
    return times.parse(prompt.retried_at or prompt.created_at)


def prolong_lease(prompt: LeasedPrompt, now: datetime, duration: timedelta) -> bool:
    """Prolong a lease; return whether the prompt is to be stopped. Raises LeaseLost."""
    stored = StoredMessage(prompt.chatroom_id, prompt.seq)
    until = StoredMessage.leased_until.set(times.text(now + duration))
    if not update_if(stored, [until], _is_leased(prompt)):
        raise LeaseLost()
    return bool(stored.stop)


def return_prompt(prompt: LeasedPrompt) -> None:
    """Queue a leased prompt whose attempt was not begun, and take the attempt off its count."""
    stored = StoredMessage(prompt.chatroom_id, prompt.seq)
    update_if(stored, [*_release(None), StoredMessage.attempts.add(-1)], _is_leased(prompt))


def release_prompt(prompt: LeasedPrompt, thinking: Thinking | None = None) -> bool:
    """Queue a leased prompt for a later attempt; return False if the lease was lost.

    Also False if the prompt is to be stopped. `thinking` replaces its level.
    """
    stored = StoredMessage(prompt.chatroom_id, prompt.seq)
    return update_if(stored, _release(thinking), _may_continue(prompt))


def release_charged(
    prompt: LeasedPrompt,
    tokens: TokenUsage,
    reservation: Reservation | None,
    thinking: Thinking | None,
) -> Write:
    """Return the write "prompt", which queues a leased prompt for a later attempt.

    `tokens` are those of the attempt that failed; they are settled when the prompt ends.
    """
    actions = [
        *_release(thinking),
        StoredMessage.input_tokens.add(tokens.input_tokens),
        StoredMessage.output_tokens.add(tokens.output_tokens),
    ]
    if reservation:
        actions.append(StoredMessage.reservation.set(_encode(reservation)))
    stored = StoredMessage(prompt.chatroom_id, prompt.seq)
    return update("prompt", stored, actions, _may_continue(prompt))


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
    prompt = _find(chatroom_id, seq)
    if prompt is None or prompt.status not in UNFINISHED:
        return None
    if prompt.status == Status.QUEUED or not prompt.leased_until:
        return 1
    return max(1, math.ceil((times.parse(prompt.leased_until) - now).total_seconds()))


def put_reply(
    prompt: LeasedPrompt,
    content: str,
    tokens: TokenUsage,
    *,
    model: str,
    finish: Finish,
    now: datetime,
) -> Write:
    """Return the write "reply", which stores the reply to a prompt, by the model that answered."""
    reply = StoredMessage(
        prompt.chatroom_id,
        prompt.seq + 1,
        user_id=prompt.user_id,
        sender="ai",
        content=content,
        model=model,
        requested_model=prompt.requested_model if prompt.requested_model != model else None,
        finish=finish,
        created_at=times.text(now),
        input_tokens=tokens.input_tokens,
        output_tokens=tokens.output_tokens,
    )
    return put("reply", reply, StoredMessage.seq.does_not_exist())


def mark_answered(prompt: LeasedPrompt, finish: Finish) -> Write:
    """Return the write "prompt", which marks a leased prompt as answered, or as stopped."""
    status = Status.STOPPED if finish is Finish.STOPPED else Status.ANSWERED
    return _finish(prompt, [StoredMessage.status.set(status)])


def mark_hidden(prompt: LeasedPrompt) -> Write:
    """Return the write "prompt", which stops a leased prompt; it no longer counts."""
    actions = [StoredMessage.status.set(Status.STOPPED), StoredMessage.counted_on.remove()]
    return _finish(prompt, actions)


def mark_failed(prompt: LeasedPrompt, failure: Failure, now: datetime, *, refunded: bool) -> Write:
    """Return the write "prompt", which fails a leased prompt; a refunded one no longer counts."""
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
    stored = StoredMessage(prompt.chatroom_id, prompt.seq)
    return update("prompt", stored, [*actions, *_end()], _is_leased(prompt))


def _end() -> list[Action]:
    return [
        StoredMessage.lease.remove(),
        StoredMessage.leased_until.remove(),
        StoredMessage.stop.remove(),
        StoredMessage.unfinished_shard.remove(),
        StoredMessage.unfinished_since.remove(),
        StoredMessage.reservation.remove(),
    ]


def _is_leased(prompt: LeasedPrompt) -> Condition:
    same: Condition = StoredMessage.lease == prompt.lease
    return same


def _may_continue(prompt: LeasedPrompt) -> Condition:
    may: Condition = _is_leased(prompt) & StoredMessage.stop.does_not_exist()
    return may


# ── Stopping ──────────────────────────────────────────────────────────────────────────────────────


class StoppablePrompt(msgspec.Struct, frozen=True):
    """A prompt of a user's room that may be stopped."""

    user_id: str
    chatroom_id: str
    seq: int
    status: str
    attempt: int
    tokens: TokenUsage
    """The tokens of its attempts."""
    model: str
    counted_on: str | None
    reservation: Reservation | None


def get_stoppable(caller: Claims, chatroom_id: str, seq: int, now: datetime) -> StoppablePrompt:
    """Return a prompt of the user's room, whatever its status.

    Raises NotFound, and Unauthorized if the session has ended.
    """
    _, prompt = _get_prompt(caller, chatroom_id, seq, now)
    return StoppablePrompt(
        user_id=caller.user_id,
        chatroom_id=chatroom_id,
        seq=seq,
        status=prompt.status or Status.QUEUED,
        attempt=int(prompt.attempt or 0),
        tokens=_tokens(prompt.input_tokens, prompt.output_tokens),
        model=prompt.model,
        counted_on=prompt.counted_on,
        reservation=_decode(prompt.reservation),
    )


def mark_stopped(prompt: StoppablePrompt) -> Write:
    """Return the write "prompt", which ends a queued prompt that no worker has leased since."""
    same: Condition = StoredMessage.attempt == prompt.attempt
    if not prompt.attempt:
        same = StoredMessage.attempt.does_not_exist()
    return update(
        "prompt",
        StoredMessage(prompt.chatroom_id, prompt.seq),
        [StoredMessage.status.set(Status.STOPPED), StoredMessage.counted_on.remove(), *_end()],
        (StoredMessage.status == Status.QUEUED) & same,
    )


def request_stop(chatroom_id: str, seq: int) -> bool:
    """Ask the worker that generates a reply to stop; return False if no worker does any more."""
    return update_if(
        StoredMessage(chatroom_id, seq),
        [StoredMessage.stop.set(True)],
        StoredMessage.status == Status.GENERATING,
    )


# ── The sweep ─────────────────────────────────────────────────────────────────────────────────────


class UnfinishedPrompt(msgspec.Struct, frozen=True):
    """A prompt that is neither answered nor failed; `sent` is when it was sent or last retried."""

    sent: datetime
    attempts: int
    leased_until: datetime | None
    stop: bool
    generation: str
    requeued: int
    since: str
    plan: Plan


def list_unfinished(shard: int, before: datetime) -> Iterator[tuple[str, int]]:
    """Yield room and position of a shard's prompts and tombstones that are due before a time."""
    due = StoredMessage.unfinished_since < times.text(before)
    for key in StoredMessage.unfinished.query(shard, due):
        yield key.chatroom_id, int(key.seq)


def find_unfinished(chatroom_id: str, seq: int) -> UnfinishedPrompt | None:
    """Return an unfinished prompt; None for any other message."""
    prompt = _find(chatroom_id, seq)
    if prompt is None or prompt.unfinished_since is None or prompt.sender != "user":
        return None
    reservation = _decode(prompt.reservation)
    return UnfinishedPrompt(
        sent=_sent_at(prompt),
        attempts=int(prompt.attempts or 0),
        leased_until=times.parse(prompt.leased_until) if prompt.leased_until else None,
        stop=bool(prompt.stop),
        generation=prompt.generation or FIRST,
        requeued=int(prompt.requeued or 0),
        since=prompt.unfinished_since,
        plan=reservation.plan if reservation else Plan.BASIC,
    )


def note_requeue(
    chatroom_id: str, seq: int, known: UnfinishedPrompt, now: datetime, pause: timedelta
) -> bool:
    """Note that the sweep queues a prompt again; the time until it is due again doubles.

    Returns False if another sweep was faster or the prompt is finished.
    """
    due = now + pause * (2 ** min(known.requeued, 8) - 1)
    return update_if(
        StoredMessage(chatroom_id, seq),
        [
            StoredMessage.requeued.set(known.requeued + 1),
            StoredMessage.unfinished_since.set(times.text(due)),
        ],
        StoredMessage.unfinished_since == known.since,
    )


def shard(chatroom_id: str) -> int:
    """Return the shard of the unfinished index that holds a room's prompts."""
    return zlib.crc32(chatroom_id.encode()) % SHARDS


# ── Forks ─────────────────────────────────────────────────────────────────────────────────────────


def copy_line(chatroom_id: str, hidden: Hidden, last: int, target: str) -> int:
    """Copy a room's line up to a position to another room; return the last position there.

    The copied prompts are final and not counted, and `make redrive` leaves failed ones out. Raises
    StillGenerating for a prompt that is not final, and RoomTooLong.
    """
    ranges = list(hidden.shown(last))
    if sum(end - first + 1 for first, end in ranges) > 2 * FORK_TURNS:
        raise RoomTooLong()
    turns = size = 0
    with StoredMessage.batch_write() as batch:
        for first, end in ranges:
            positions = StoredMessage.seq.between(first, end)
            for message in StoredMessage.query(chatroom_id, positions, consistent_read=True):
                if message.status in (Status.QUEUED, Status.GENERATING):
                    raise StillGenerating()
                turns += message.sender == "user"
                size += len(message.content.encode())
                if size > FORK_SIZE:
                    raise RoomTooLong()
                kept = {name: getattr(message, name) for name in COPIED}
                batch.save(StoredMessage(target, 2 * turns - (message.sender == "user"), **kept))
    return 2 * turns


# ── Deleted rooms ─────────────────────────────────────────────────────────────────────────────────


def put_tombstone(user_id: str, chatroom_id: str, now: datetime) -> Write:
    """Return the write "tombstone", by which the sweep deletes a deleted room's messages.

    It is due only after the longest request, so that the sweep also deletes a prompt that is being
    stored now.
    """
    tombstone = StoredMessage(
        chatroom_id,
        TOMBSTONE_SEQ,
        user_id=user_id,
        sender="note",
        content="",
        model="",
        created_at=times.text(now),
        unfinished_shard=shard(chatroom_id),
        unfinished_since=times.text(now + PURGE_AFTER),
    )
    return put("tombstone", tombstone)


def delete_tombstone(chatroom_id: str) -> Write:
    """Return the write "tombstone", which keeps a room's messages from the sweep.

    Its condition fails if the sweep has deleted them.
    """
    tombstone = StoredMessage(chatroom_id, TOMBSTONE_SEQ)
    return delete("tombstone", tombstone, StoredMessage.seq.exists())


def list_prompts_in_flight(chatroom_id: str) -> Iterator[int]:
    """Yield the positions of a room's prompts that are neither answered nor failed."""
    in_flight = StoredMessage.unfinished_since.exists()
    for prompt in StoredMessage.query(
        chatroom_id,
        StoredMessage.seq > TOMBSTONE_SEQ,
        in_flight,
        consistent_read=True,
        attributes_to_get=["chatroom_id", "seq"],
    ):
        yield int(prompt.seq)


def purge(chatroom_id: str, until: float) -> bool:
    """Delete a deleted room's messages, its tombstone last; return False if time ran out before.

    `until` is a time of the monotonic clock. Repeats until a query finds nothing, since a worker
    may store a reply meanwhile; it cannot once the reply's prompt is deleted.
    """
    found = True
    while found:
        found = False
        keys = StoredMessage.query(
            chatroom_id,
            StoredMessage.seq > TOMBSTONE_SEQ,
            consistent_read=True,
            attributes_to_get=["chatroom_id", "seq"],
            page_size=500,
        )
        with StoredMessage.batch_write() as batch:
            for key in keys:
                if time.monotonic() > until:
                    return False
                batch.delete(StoredMessage(chatroom_id, int(key.seq)))
                found = True
    StoredMessage(chatroom_id, TOMBSTONE_SEQ).delete()
    return True
