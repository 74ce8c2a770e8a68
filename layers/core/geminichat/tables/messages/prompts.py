"""Read a prompt, and store, retry, redrive or stop one that no worker has leased."""

from collections.abc import Iterator
from datetime import datetime

import msgspec
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat.domain import times
from geminichat.domain.lines import Hidden, Range
from geminichat.domain.messages import REDRIVABLE, Status, TokenUsage, read_member
from geminichat.domain.models import Choice, Thinking
from geminichat.domain.plans import Plan
from geminichat.domain.sessions import Claims
from geminichat.domain.spending import Reservation
from geminichat.errors import NotFound
from geminichat.tables import chatrooms, users
from geminichat.tables.chatrooms import Chatroom, Turn
from geminichat.tables.messages import stored
from geminichat.tables.messages.stored import FIRST, StoredMessage
from geminichat.tables.table import Write, find_item, put, update, update_if


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
        reservation=stored.encode_reservation(reservation),
        unfinished_shard=stored.shard_of(turn.chatroom_id),
        unfinished_since=moment,
    )
    return put("prompt", prompt, StoredMessage.seq.does_not_exist())


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A stored prompt, with the settings that its room had when it was sent."""

    user_id: str
    chatroom_id: str
    seq: int
    content: str
    created_at: str
    sent: datetime
    """When the prompt was sent or last retried."""
    model: str
    requested_model: str
    thinking: Thinking | None
    max_output_tokens: int | None
    system_instruction: str | None
    hidden: Hidden
    """The room's hidden ranges at the moment when the prompt was sent."""
    title_due: bool
    """Whether the room had the default title when the prompt was sent."""
    status: Status
    error_code: str
    """The code of the failure; "" unless the prompt has failed."""
    generation: str
    attempts: int
    attempt: int
    """The number of the latest attempt; attempts before a retry count, too."""
    lease: str
    leased_until: datetime | None
    stop: bool
    """Whether the user has asked to stop the prompt."""
    tokens: TokenUsage
    """The tokens of attempts without a reply."""
    counted_on: str | None
    reservation: Reservation | None
    """The reserved cost; None for a redriven prompt, for which nothing is reserved."""
    requeued: int
    """The number of times that the sweep has queued this generation."""
    unfinished_since: str | None
    """The sort key, a time, in the index `unfinished`; None once the prompt has ended."""

    @property
    def plan(self) -> Plan:
        """The plan under which the prompt was sent, which decides the queue."""
        return self.reservation.plan if self.reservation else Plan.BASIC

    @property
    def turn(self) -> Turn:
        """The prompt's turn, for a retry."""
        return Turn(
            user_id=self.user_id,
            chatroom_id=self.chatroom_id,
            seq=self.seq,
            model=self.requested_model,
            thinking=self.thinking,
            system_instruction=self.system_instruction,
            hidden=self.hidden,
        )


def read[P: Prompt](item: StoredMessage, kind: type[P]) -> P:
    """Return the prompt that an item holds."""
    ranges = msgspec.json.decode(item.hidden, type=list[Range]) if item.hidden else []
    reservation = item.reservation
    return kind(
        user_id=item.user_id,
        chatroom_id=item.chatroom_id,
        seq=int(item.seq),
        content=item.content,
        created_at=item.created_at,
        sent=times.parse(item.retried_at or item.created_at),
        model=item.model,
        requested_model=item.requested_model or item.model,
        thinking=Thinking.read(item.thinking),
        max_output_tokens=int(item.max_output_tokens) if item.max_output_tokens else None,
        system_instruction=item.system_instruction,
        hidden=Hidden.of(ranges),
        title_due=bool(item.title_due),
        status=read_member(Status, item.status or Status.QUEUED),
        error_code=item.error_code or "",
        generation=item.generation or FIRST,
        attempts=int(item.attempts or 0),
        attempt=int(item.attempt or 0),
        lease=item.lease or "",
        leased_until=times.parse(item.leased_until) if item.leased_until else None,
        stop=bool(item.stop),
        tokens=stored.read_tokens(item.input_tokens, item.output_tokens),
        counted_on=item.counted_on,
        reservation=msgspec.json.decode(reservation, type=Reservation) if reservation else None,
        requeued=int(item.requeued or 0),
        unfinished_since=item.unfinished_since,
    )


def find(chatroom_id: str, seq: int) -> Prompt | None:
    """Return a prompt; None for any other message."""
    item = find_item(StoredMessage, chatroom_id, seq)
    return read(item, Prompt) if item and item.sender == "user" else None


def get(caller: Claims, chatroom_id: str, seq: int, now: datetime) -> tuple[Chatroom, Prompt]:
    """Return the user's room, and a prompt of it.

    Raises NotFound, and Unauthorized if the session has ended.
    """
    keys = chatrooms.key_of(caller.user_id, chatroom_id), stored.key_of(chatroom_id, seq)
    _, room, item = users.read_current(caller, now, *keys)
    if room is None or item is None or item.sender != "user":
        raise NotFound()
    return room, read(item, Prompt)


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
            StoredMessage.reservation.set(stored.encode_reservation(reservation)),
        ],
        StoredMessage.status == Status.FAILED,
    )


def list_failed(code: str, since: datetime) -> Iterator[tuple[str, int]]:
    """Yield the room and position of prompts that failed with `code` since a time, oldest first."""
    for key in StoredMessage.failed.query(code, StoredMessage.failed_at >= times.text(since)):
        yield key.chatroom_id, int(key.seq)


def redrive_prompt(prompt: Prompt, generation: str, now: datetime) -> Write:
    """Return the write "prompt", which queues a prompt that failed for a reason in REDRIVABLE.

    The prompt is not counted again, but its cost is. The write's condition fails if the prompt was
    retried or deleted in the meantime.
    """
    same = StoredMessage.generation == prompt.generation
    if prompt.generation == FIRST:
        same |= StoredMessage.generation.does_not_exist()
    return update(
        "prompt",
        StoredMessage(prompt.chatroom_id, prompt.seq),
        _requeue(prompt.chatroom_id, generation, now),
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
        StoredMessage.unfinished_shard.set(stored.shard_of(chatroom_id)),
        StoredMessage.unfinished_since.set(moment),
    ]


def mark_stopped(prompt: Prompt) -> Write:
    """Return the write "prompt", which stops a queued prompt, unless a worker has leased it."""
    same: Condition = StoredMessage.attempt == prompt.attempt
    if not prompt.attempt:
        same = StoredMessage.attempt.does_not_exist()
    return update(
        "prompt",
        StoredMessage(prompt.chatroom_id, prompt.seq),
        [
            StoredMessage.status.set(Status.STOPPED),
            StoredMessage.counted_on.remove(),
            *stored.end_prompt(),
        ],
        (StoredMessage.status == Status.QUEUED) & same,
    )


def request_stop(chatroom_id: str, seq: int) -> bool:
    """Ask a prompt's worker to stop; return False if no worker is generating the reply."""
    return update_if(
        StoredMessage(chatroom_id, seq),
        [StoredMessage.stop.set(True)],
        StoredMessage.status == Status.GENERATING,
    )
