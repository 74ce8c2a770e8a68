"""Copy a room's line to a fork."""

from geminichat.domain.lines import Hidden
from geminichat.domain.messages import Status
from geminichat.errors import RoomTooLong, StillGenerating
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.table import batch_put

FORK_TURNS = 1_000
FORK_SIZE = 4_000_000
"""The bytes that one partition of DynamoDB accepts in four seconds."""

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
"""The attributes of a message that are copied to a fork."""


def copy_line(chatroom_id: str, hidden: Hidden, last: int, target: str) -> int:
    """Copy a room's line, up to a position, to another room; return the last position there.

    The copies of prompts do not count, and a redrive never queues a copy. Raises
    StillGenerating for a prompt that is not final, RoomTooLong, and Unavailable.
    """
    ranges = list(hidden.iterate_shown(last))
    if sum(end - first + 1 for first, end in ranges) > 2 * FORK_TURNS:
        raise RoomTooLong()
    turns = size = 0
    copies: list[StoredMessage] = []
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
            copies.append(StoredMessage(target, 2 * turns - (message.sender == "user"), **kept))
    batch_put(StoredMessage, copies)
    return 2 * turns
