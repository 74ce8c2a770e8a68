"""Messages: prompts and the replies to them."""

import hashlib
from enum import StrEnum
from typing import Annotated, Literal, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geminichat.domain.text import VISIBLE, seen
from geminichat.errors import InvalidField

CONTENT_LENGTH = 16_000
REPLY_SIZE = 350_000
"""Bytes; what DynamoDB takes as one item is 400 KB, and a longer reply could never be stored."""


class Status(StrEnum):
    """Where a prompt stands; answered and failed are final."""

    QUEUED = "queued"
    GENERATING = "generating"
    ANSWERED = "answered"
    FAILED = "failed"


class NewPrompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prompt to send: 1 to 16,000 characters after trimming."""

    content: Annotated[
        str,
        Meta(extra_json_schema={"minLength": 1, "maxLength": CONTENT_LENGTH, "pattern": VISIBLE}),
    ]
    """1 to 16,000 characters after trimming; something of them can be seen, and none is NUL."""

    def __post_init__(self) -> None:
        """Trim it, and hold what is left against the limits."""
        content = seen(self.content, "content")
        if not 1 <= len(content) <= CONTENT_LENGTH:
            raise InvalidField("content", f"Expected 1 to {CONTENT_LENGTH:,} visible characters")
        msgspec.structs.force_setattr(self, "content", content)


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens that Gemini counted for one reply."""

    input_tokens: int
    output_tokens: int


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a prompt has no reply: a code for programs, a sentence for its user."""

    code: str
    message: str


BLOCKED = Failure(
    code="blocked",
    message="Gemini declined to answer this prompt. Rephrase it and send it again.",
)
REFUSED = Failure(
    code="not-accepted",
    message="Gemini could not process this prompt as it stands. Change it and send it again.",
)
UNAVAILABLE = Failure(
    code="gemini-unavailable",
    message="Gemini could not be reached for a while. The prompt was not counted; try it again.",
)


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message as the wire shows it; fields that its kind does not have are left out."""

    id: str
    sender: Literal["user", "ai"]
    content: str
    created_at: str
    status: Status | UnsetType = UNSET
    error: Failure | UnsetType | None = UNSET
    reply: "Message | UnsetType | None" = UNSET
    reply_to: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    usage: TokenUsage | UnsetType = UNSET


class MessagePage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Messages in the order of the room."""

    messages: list[Message]
    next_cursor: str | None
    poll_after: str | None
    """What to ask `after` next: all up to it has ended; null is from the first."""

    @classmethod
    def of(cls, messages: list[Message], start: str | None, next_cursor: str | None) -> Self:
        """Return the page of messages after `start`.

        A reply takes its place behind its prompt, whenever it comes. So who asks after the newest
        message misses the reply to an earlier one; `poll_after` stands before the first of those.
        """
        ended = start
        for message in messages:
            if message.status in (Status.QUEUED, Status.GENERATING):
                break
            ended = message.id
        return cls(messages=messages, next_cursor=next_cursor, poll_after=ended)


class Accepted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A prompt that was taken on: it will end answered or failed."""

    message_id: str
    job_id: str
    status: Status
    message: Message

    @classmethod
    def of(cls, message: Message, job_id: str) -> Self:
        """Return what a sender is told of a stored prompt."""
        status = message.status or Status.QUEUED
        return cls(message_id=message.id, job_id=job_id, status=status, message=message)


def fingerprint(*parts: str) -> str:
    """Return a digest by which one request is told from another; no two lists run together."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part.encode())
    return digest.hexdigest()
