"""Exports: archives of all data of an account, and the state of an export.

An archive is a zip of JSON lines, one file per kind of record. A record that the API also returns
has the form of the API's answer. This module defines the other forms.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from geminichat.domain.limits import DAY, Window
from geminichat.domain.messages import Message

ADDRESS_LIFETIME = timedelta(minutes=15)
"""The time for which the URL of an archive is valid."""
KEPT = DAY
"""The time for which an archive can be fetched and no new export can be requested."""
ATTEMPTS = 3
"""The attempts to write an archive; after the last attempt, its message becomes a dead letter."""
LONGEST = timedelta(hours=1)
"""An export that is not ready after this time has failed. Its attempts together take less time."""


class ExportStatus(StrEnum):
    """The state of an export; only a failed export may be requested again within the day."""

    PREPARING = "preparing"
    READY = "ready"
    FAILED = "failed"
    TOO_LARGE = "too-large"


class Export(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The newest export of an account."""

    status: ExportStatus
    requested_at: str
    kept_until: str
    """Until this time, the archive can be fetched. A new export is refused until then, unless this
    export has failed."""
    size: int | None = None
    """The size of a ready archive in bytes."""
    url: str | None = None
    """The URL of a ready archive; each answer has a new URL."""
    url_expires_at: str | None = None


def window(requested_at: datetime | None, now: datetime) -> Window:
    """Return the limit of one export per day; `requested_at` is the time of the counted export."""
    span = int(KEPT.total_seconds())
    return Window(
        name="export",
        key="",
        quota=1,
        count=1 if requested_at else 0,
        ends_at=int(((requested_at or now) + KEPT).timestamp()),
        span=span,
        policy="export",
    )


class HeldIdentity(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An identity of the account."""

    kind: str
    value: str
    verified: bool


class HeldSession(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A session of the account that has not ended."""

    id: str
    began_at: str


class RoomMessage(Message, frozen=True, kw_only=True):
    """A message as the API shows it, with the id of its room; hidden messages are marked."""

    chatroom_id: str

    @classmethod
    def of(cls, message: Message, chatroom_id: str) -> "RoomMessage":
        return cls(**msgspec.structs.asdict(message), chatroom_id=chatroom_id)


README = """\
Your Gemini Chat data
=====================

Each file holds one record per line, in JSON (UTF-8):

account.jsonl       your account, as GET /user/me shows it
identities.jsonl    your email address and mobile number
sessions.jsonl      where you are logged in
subscription.jsonl  your plan, as GET /subscription/status shows it
usage.jsonl         prompts, tokens and costs per day (UTC), for 90 days
rooms.jsonl         your chats, as GET /chatroom/{id} shows them
messages.jsonl      your prompts and the replies, in the order of each chat; "chatroomId" names the
                    chat, and "hidden": true marks what you have edited, regenerated or undone

Not included: your password and the codes sent to you (only digests of them are stored), and your
invoices (Stripe's billing page shows them).
"""
"""The text file in the archive that describes the other files."""
