"""The messages table: a room's prompts and replies by their position (`seq`).

A prompt has position n and its reply n+1, so a prompt has at most one reply, and prompts and
replies alternate. Unfinished prompts (queued or generating) are in the sparse index `unfinished`,
where the sweep finds them. Position 0 is a deleted room's tombstone.
"""

import binascii
from typing import Any

import msgspec
from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.update import Action
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection

from geminichat.domain.messages import TokenUsage
from geminichat.domain.spending import Reservation
from geminichat.tables.table import Key, Table

FIRST = "0"
"""The generation of a prompt that was never retried."""

SHARDS = 8
"""The number of partitions over which the index of unfinished prompts spreads its writes."""


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
    """A prompt or a reply. A prompt keeps the settings that the room had when it was sent."""

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
    hidden = UnicodeAttribute(null=True)  # JSON: the ranges that the room hid
    attempts = NumberAttribute(null=True)
    attempt = NumberAttribute(null=True)  # the number of the latest attempt, retries included
    stop = BooleanAttribute(null=True)  # the user has asked to stop the prompt
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
    input_tokens = NumberAttribute(null=True)  # of a prompt: the tokens of attempts without a reply
    output_tokens = NumberAttribute(null=True)
    reservation = UnicodeAttribute(null=True)  # a Reservation in JSON
    title_due = BooleanAttribute(null=True)  # the room had the default title

    unfinished = Unfinished()
    failed = Failed()


def key_of(chatroom_id: str, seq: int) -> Key:
    """Return the key of a message, to read it together with other items."""
    return Key(StoredMessage, chatroom_id, seq)


def read_last_position(chatroom_id: str) -> int:
    """Return the position of the last prompt's reply, stored or not; 0 if there is no prompt."""
    newest = StoredMessage.query(
        chatroom_id,
        StoredMessage.seq > 0,
        consistent_read=True,
        scan_index_forward=False,
        limit=1,
        attributes_to_get=["seq"],
    )
    last = max((int(message.seq) for message in newest), default=0)
    return last + last % 2


def read_tokens(input_tokens: Any, output_tokens: Any) -> TokenUsage:
    """Return the tokens from two attributes of a message."""
    return TokenUsage(input_tokens=int(input_tokens or 0), output_tokens=int(output_tokens or 0))


def encode_reservation(reservation: Reservation) -> str:
    """Return a reservation as the value of a prompt's attribute `reservation`."""
    return msgspec.json.encode(reservation).decode()


def shard_of(chatroom_id: str) -> int:
    """Return the shard of the unfinished index that holds a room's prompts."""
    return binascii.crc32(chatroom_id.encode()) % SHARDS


def end_prompt() -> list[Action]:
    """Return the actions that remove the lease and the reservation of a prompt that ends."""
    return [
        StoredMessage.lease.remove(),
        StoredMessage.leased_until.remove(),
        StoredMessage.stop.remove(),
        StoredMessage.unfinished_shard.remove(),
        StoredMessage.unfinished_since.remove(),
        StoredMessage.reservation.remove(),
    ]
