"""Store, retry, redrive or stop a prompt that no worker has leased."""

from collections.abc import Iterator
from datetime import datetime

import msgspec
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from geminichat.domain import times
from geminichat.domain.messages import REDRIVABLE, Status, TokenUsage, read_member
from geminichat.domain.models import Choice
from geminichat.domain.sessions import Claims
from geminichat.domain.spending import Reservation
from geminichat.errors import NotFound
from geminichat.tables import chatrooms, users
from geminichat.tables.chatrooms import Turn
from geminichat.tables.messages import stored
from geminichat.tables.messages.stored import FIRST, StoredMessage
from geminichat.tables.table import Write, put, update, update_if


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
        hidden=stored.hidden_of(prompt),
    )
    is_hidden = chatrooms.line_of(room).hidden.has_position(seq)
    status = read_member(Status, prompt.status)
    return SentBefore(turn, prompt.content, prompt.created_at, status, is_hidden)


def _get_prompt(
    caller: Claims, chatroom_id: str, seq: int, now: datetime
) -> tuple[chatrooms.Chatroom, StoredMessage]:
    keys = chatrooms.key_of(caller.user_id, chatroom_id), stored.key_of(chatroom_id, seq)
    _, room, prompt = users.read_current(caller, now, *keys)
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
            StoredMessage.reservation.set(stored.encode_reservation(reservation)),
        ],
        StoredMessage.status == Status.FAILED,
    )


def list_failed(code: str, since: datetime) -> Iterator[tuple[str, int]]:
    """Yield room and position of the prompts with a failure code since a time, oldest first."""
    for key in StoredMessage.failed.query(code, StoredMessage.failed_at >= times.text(since)):
        yield key.chatroom_id, int(key.seq)


class RedrivablePrompt(msgspec.Struct, frozen=True):
    """A prompt that failed for a reason in REDRIVABLE, which its user did not cause."""

    user_id: str
    generation: str
    reason: str
    """The code of the failure."""


def find_redrivable(chatroom_id: str, seq: int) -> RedrivablePrompt | None:
    """Return a prompt that failed for a reason in REDRIVABLE; None for any other message."""
    prompt = stored.find(chatroom_id, seq)
    if prompt and prompt.status == Status.FAILED and prompt.error_code in REDRIVABLE:
        return RedrivablePrompt(prompt.user_id, prompt.generation or FIRST, prompt.error_code)
    return None


def redrive_prompt(
    chatroom_id: str, seq: int, generation: str, new_generation: str, now: datetime
) -> Write:
    """Return the write "prompt", which queues a prompt that failed for a reason in REDRIVABLE.

    The prompt is not counted again, but its cost is. The write's condition fails for any other
    generation, so that a prompt that was retried or deleted in the meantime stays unchanged.
    """
    same = StoredMessage.generation == generation
    if generation == FIRST:
        same |= StoredMessage.generation.does_not_exist()
    return update(
        "prompt",
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
        StoredMessage.unfinished_shard.set(stored.shard_of(chatroom_id)),
        StoredMessage.unfinished_since.set(moment),
    ]


class StoppablePrompt(msgspec.Struct, frozen=True):
    """A prompt of a user's room that may be stopped."""

    user_id: str
    chatroom_id: str
    seq: int
    status: str
    attempt: int
    tokens: TokenUsage
    """The tokens of the prompt's attempts."""
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
        tokens=stored.read_tokens(prompt.input_tokens, prompt.output_tokens),
        model=prompt.model,
        counted_on=prompt.counted_on,
        reservation=stored.decode_reservation(prompt.reservation),
    )


def mark_stopped(prompt: StoppablePrompt) -> Write:
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
