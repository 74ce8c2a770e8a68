"""Messages: prompts and their replies."""

from enum import StrEnum
from typing import Annotated, Literal, Self, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from geminichat.domain.live import Partial
from geminichat.domain.text import VISIBLE, trim_lines
from geminichat.errors import InvalidField

CONTENT_LENGTH = 16_000
REPLY_SIZE = 350_000
"""Bytes of the longest reply that is stored; a DynamoDB item has at most 400 KB."""


class Status(StrEnum):
    """A prompt's state; queued and generating are not final."""

    QUEUED = "queued"
    GENERATING = "generating"
    ANSWERED = "answered"
    STOPPED = "stopped"
    FAILED = "failed"


UNFINISHED = frozenset({Status.QUEUED, Status.GENERATING})

FINAL = frozenset({Status.ANSWERED, Status.STOPPED, Status.FAILED})
"""The states that are known to be final."""


def read_member[Member: StrEnum](kind: type[Member], stored: str) -> Member:
    """Return a stored value as a member of `kind`, or unchanged if `kind` has no such member.

    A newer release may have stored a value that this release does not know: both releases
    run during a gradual deployment, and the older release runs after a rollback.
    """
    return kind(stored) if stored in kind else cast(Member, stored)


class NewPrompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prompt to send: 1 to 16,000 characters after trimming."""

    content: Annotated[
        str,
        Meta(extra_json_schema={"minLength": 1, "maxLength": CONTENT_LENGTH, "pattern": VISIBLE}),
    ]
    """1 to 16,000 characters after trimming blank lines and trailing space; the first line keeps
    its indentation. At least one character is visible, none is NUL."""

    def __post_init__(self) -> None:
        """Trim the content and validate its length."""
        content = trim_lines(self.content, "content")
        if not 1 <= len(content) <= CONTENT_LENGTH:
            raise InvalidField("content", f"Expected 1 to {CONTENT_LENGTH:,} visible characters")
        msgspec.structs.force_setattr(self, "content", content)


class EditedPrompt(NewPrompt, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The new text of a prompt: 1 to 16,000 characters after trimming."""


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The tokens that Gemini billed for a reply, failed attempts included.

    Output tokens include thinking.
    """

    input_tokens: int
    output_tokens: int

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


NO_TOKENS = TokenUsage(input_tokens=0, output_tokens=0)


class Failure(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The reason why a prompt has no reply: a code for programs and a sentence for the user."""

    code: str
    message: str


BLOCKED = Failure(
    code="blocked",
    message="Gemini declined to answer this prompt. Rephrase it and send it again.",
)
RECITED = Failure(
    code="recitation",
    message="Gemini stopped because its reply repeated published text. Rephrase the prompt.",
)
NOT_ACCEPTED = Failure(
    code="not-accepted",
    message="Gemini could not process this prompt. Change it and send it again.",
)
PROMPT_TOO_LONG = Failure(
    code="prompt-too-long",
    message="The conversation is too long for the model. Shorten the prompt, or open a new room.",
)
REPLY_TOO_LONG = Failure(
    code="reply-too-long",
    message=(
        "Gemini used the whole length of its reply for thinking. "
        "Choose a lower thinking level, or ask a simpler question."
    ),
)
REPLY_TOO_SLOW = Failure(
    code="reply-too-slow",
    message="The reply took longer than the time limit. Ask for a shorter reply.",
)
TIMED_OUT = Failure(
    code="timed-out",
    message="Gemini stopped answering for too long. Send the prompt again.",
)
UNAVAILABLE = Failure(
    code="gemini-unavailable",
    message="Gemini was unavailable for some time. The prompt was not counted; try it again.",
)
MODEL_RETIRED = Failure(
    code="model-retired",
    message=(
        "The model of this chatroom is no longer available. The prompt was not counted. "
        "Choose another model for the chatroom and send the prompt again."
    ),
)
SERVICE_REFUSED = Failure(
    code="service-refused",
    message=(
        "This service cannot use Gemini at the moment; your prompt is not the reason. "
        "The prompt was not counted; try it again later."
    ),
)

REFUNDED = frozenset(failure.code for failure in (UNAVAILABLE, MODEL_RETIRED, SERVICE_REFUSED))
"""The failure codes of refunded prompts; no user can cause these failures on purpose."""

REDRIVABLE = REFUNDED
"""The failure codes of prompts that a redrive can queue again after the cause is fixed."""


class Finish(StrEnum):
    """The way a reply ended: complete, cut at the maximum length, or stopped by the user."""

    COMPLETE = "complete"
    LENGTH = "length"
    STOPPED = "stopped"


class Reply(msgspec.Struct, frozen=True):
    """Gemini's reply, the tokens billed for this attempt, and the model that answered."""

    content: str
    tokens: TokenUsage
    model: str
    finish: Finish


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message as the API shows it; fields that do not apply are left out."""

    id: str
    sender: Literal["user", "ai"]
    content: str
    created_at: str
    status: Status | UnsetType = UNSET
    hidden: bool | UnsetType = UNSET
    """True if an edit, a regeneration or an undo has hidden the message. Lists leave out hidden
    messages, so only answers for one message have this field."""
    error: Failure | UnsetType | None = UNSET
    reply: "Message | UnsetType | None" = UNSET
    partial: Partial | UnsetType = UNSET
    """The text so far while a prompt is generating, if the request named an offset in `from`."""
    reply_to: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    requested_model: str | UnsetType = UNSET
    finish: Finish | UnsetType = UNSET
    usage: TokenUsage | UnsetType = UNSET

    @classmethod
    def new_prompt(cls, message_id: str, content: str, created_at: str) -> Self:
        """Return a queued prompt, as the answer to its sender shows it."""
        return cls(
            id=message_id,
            sender="user",
            content=content,
            created_at=created_at,
            status=Status.QUEUED,
            error=None,
        )


class MessagePage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Messages in the order of the room."""

    messages: list[Message]
    next_cursor: str | None
    poll_after: str | None
    """The message to name in the next poll's `after`: all prompts up to this message are final."""
    reload: bool
    """True if an edit, a regeneration or an undo has hidden the message in `after`: load the room
    again, because messages before this page have changed too."""

    @classmethod
    def of(
        cls,
        messages: list[Message],
        start: str | None,
        next_cursor: str | None,
        *,
        reload: bool = False,
    ) -> Self:
        """Return the page of messages after `start`.

        A late reply still has the position after its prompt. A client that polled after the newest
        message would miss late replies to earlier prompts, so `poll_after` names the last message
        before the first unfinished prompt.
        """
        poll_after = start
        for message in messages:
            if message.status is not UNSET and message.status not in FINAL:
                break
            poll_after = message.id
        return cls(messages=messages, next_cursor=next_cursor, poll_after=poll_after, reload=reload)


class StopRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A prompt that is stopped, or will be stopped within seconds."""

    message_id: str
    status: Status


class AcceptedPrompt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An accepted prompt: it will be answered or will fail."""

    message_id: str
    job_id: str
    status: Status
    message: Message

    @classmethod
    def of(cls, message: Message, job_id: str) -> Self:
        """Return the accepted prompt's ids, status and message."""
        status = message.status or Status.QUEUED
        return cls(message_id=message.id, job_id=job_id, status=status, message=message)
