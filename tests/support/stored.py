"""Read and change stored users, their sessions and their rooms."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from geminichat.domain import codes, times
from geminichat.domain.identities import Identity
from geminichat.tables import identities, limits, users
from geminichat.tables.chatrooms import Chatroom
from geminichat.tables.codes import Codes
from geminichat.tables.exports import StoredExport
from geminichat.tables.idempotency_keys import IdempotencyKey
from geminichat.tables.identities import IdentityRecord
from geminichat.tables.limits import Counter
from geminichat.tables.live import Live
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.purges import Purge
from geminichat.tables.sessions import Session
from geminichat.tables.subscriptions import Subscription
from geminichat.tables.usage import Usage
from geminichat.tables.users import User
from tests.support import archives

NO_ROOM = "r_" + "a" * 26
"""An id that no room has."""
NO_MESSAGE = f"m_{'a' * 26}_1"


def record_of(identity: Identity) -> IdentityRecord | None:
    return identities.find(identity, datetime.now(UTC))


def users_named(identity: Identity) -> list[User]:
    """Return every user item with the identity, proven or not."""
    attribute = User.email if identity.kind == "email" else User.mobile
    return list(User.scan(attribute == identity.value, consistent_read=True))


def user_of(identity: Identity) -> User:
    """Return the user that this identity's record names."""
    record = record_of(identity)
    assert record
    found = users.find(record.user_id)
    assert found
    return found


def sessions_of(user_id: str) -> list[str]:
    """Return the ids of the user's sessions that have not ended."""
    user = users.find(user_id)
    return list(users.sessions_of(user)) if user else []


def purge_of(user_id: str) -> Purge | None:
    """Return the purge of a user, or None."""
    return next(iter(Purge.query(user_id, consistent_read=True)), None)


def items_of(user_id: str, room: str) -> dict[str, Any]:
    """Return a user's and a room's stored items by kind; kinds without items are left out."""
    found = {
        "rooms": list(Chatroom.query(user_id)),
        "messages": [message for message in messages_in(room) if int(message.seq)],
        "usage": list(Usage.query(user_id)),
        "keys": list(IdempotencyKey.query(user_id)),
        "sessions": list(Session.query(user_id)),
        "subscription": list(Subscription.query(user_id)),
        "connections": list(Live.query(user_id)),
        "export": list(StoredExport.query(user_id)),
        "archives": archives.keys_of(user_id),
        "purge": purge_of(user_id),
    }
    return {kind: items for kind, items in found.items() if items}


def forget_purges() -> None:
    """Delete every purge, so that only purges that a test stores afterwards are due."""
    for purge in Purge.scan():
        purge.delete()


def wrong_codes(identity: Identity, at: datetime | None = None) -> int:
    """Return the count of consecutive wrong codes for an identity."""
    limit = codes.wrong_in_a_row(identity)
    found = next(iter(Counter.query(limit.key, consistent_read=True)), None)
    return limits.add_counts([limit], [found], at or datetime.now(UTC))[0].count


def codes_of(identity: Identity) -> Codes:
    return Codes.get(identity.key, consistent_read=True)


def count_prompts(user_id: str, day: str) -> int:
    """Return the number of prompts that the usage table counts for a user on a day."""
    try:
        return int(Usage.get(user_id, day, consistent_read=True).prompts)
    except Usage.DoesNotExist:
        return 0


def messages_in(room: str) -> list[StoredMessage]:
    """Return every item of a room in the messages table, in order of position."""
    return list(StoredMessage.query(room, consistent_read=True))


def prompts(room: str) -> Iterator[StoredMessage]:
    """Yield the room's prompts, in order."""
    return (message for message in messages_in(room) if message.sender == "user")


def end_leases(room: str) -> None:
    """Set the end of every lease in the room to the past, as after a worker's death."""
    for prompt in prompts(room):
        if prompt.leased_until:
            prompt.update([StoredMessage.leased_until.set("2000-01-01T00:00:00.000Z")])


def fill_room(user_id: str, room: str, many: int, padding: Callable[[], str] = str) -> None:
    """Store `many` messages in a room: answered prompts and their replies."""
    now = times.text(datetime.now(UTC))
    Chatroom(user_id, room).update([Chatroom.last_seq.set(many)])
    with StoredMessage.batch_write() as batch:
        for seq in range(1, many + 1):
            more = {"status": "answered"} if seq % 2 else {"input_tokens": 1, "output_tokens": 1}
            batch.save(
                StoredMessage(
                    room,
                    seq,
                    user_id=user_id,
                    sender="user" if seq % 2 else "ai",
                    content=f"message {seq}{padding()}",
                    model="gemini-2.5-flash",
                    created_at=now,
                    **more,
                )
            )


def set_stripe_requests(user_id: str, at: datetime, requests: int) -> None:
    """Set the number of a user's requests that call Stripe, in the hour of this time."""
    Usage(user_id, f"stripe {int(at.timestamp()) // 3600}", requests=requests).save()
