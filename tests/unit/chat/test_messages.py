"""Prompts and pages of messages."""

import json
from typing import Any

import pytest

from geminichat.api import parse_json
from geminichat.domain import messages
from geminichat.domain.messages import (
    CONTENT_LENGTH,
    AcceptedPrompt,
    Failure,
    Message,
    MessagePage,
    NewPrompt,
    Status,
)
from geminichat.errors import InvalidRequest


def prompt(content: Any) -> str:
    return parse_json(json.dumps({"content": content}).encode(), NewPrompt).content


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("a", "a"),
        ("  a\n", "  a"),
        ("\n \r\n\t\n    if x:\n        return 1\n \n", "    if x:\n        return 1"),
        ("x" * CONTENT_LENGTH, "x" * CONTENT_LENGTH),
        ("\n" * 9 + "x" * CONTENT_LENGTH + " \n", "x" * CONTENT_LENGTH),
        ("🙂" * CONTENT_LENGTH, "🙂" * CONTENT_LENGTH),
        ("\u200ba", "\u200ba"),
    ],
    ids=[
        "one",
        "trimmed",
        "indented",
        "16,000",
        "16,000 after trimming",
        "16,000 of four bytes",
        "zero width",
    ],
)
def test_a_prompt_has_1_to_16_000_characters_after_trimming(content: str, kept: str) -> None:
    assert prompt(content) == kept


@pytest.mark.parametrize(
    "content",
    [
        "",
        " \n",
        "x" * (CONTENT_LENGTH + 1),
        " " + "x" * CONTENT_LENGTH,
        "\u200b\u200d",
        "\ufeff",
        "\u3164",
        "a\0",
        "\0",
        5,
        None,
        ["a"],
    ],
    ids=lambda content: repr(content)[:12],
)
def test_a_prompt_with_invalid_content_is_refused_with_a_pointer(content: Any) -> None:
    with pytest.raises(InvalidRequest) as error:
        prompt(content)
    assert [problem.pointer for problem in error.value.errors] == ["/content"]


def test_every_failure_has_its_own_code_and_a_message_for_the_user() -> None:
    failures = [value for value in vars(messages).values() if isinstance(value, Failure)]
    assert len({failure.code for failure in failures}) == len(failures) == 10
    for failure in failures:
        assert failure.message.endswith(".")


def test_an_accepted_prompt_has_its_ids_and_status() -> None:
    message = Message(
        id="m_1", sender="user", content="Hi", created_at="then", status=Status.ANSWERED
    )
    accepted = AcceptedPrompt.of(message, "m_1-0-0")
    assert (accepted.message_id, accepted.job_id, accepted.status) == ("m_1", "m_1-0-0", "answered")


def messages_of(*statuses: Status | None) -> list[Message]:
    """Return messages m_1, m_2 …: a prompt for each status, and a reply for each None."""
    return [
        Message(id=f"m_{n}", sender="user", content="Hi", created_at="then", status=status)
        if status
        else Message(id=f"m_{n}", sender="ai", content="Hi", created_at="then")
        for n, status in enumerate(statuses, 1)
    ]


@pytest.mark.parametrize(
    ("statuses", "after"),
    [
        ([], None),
        ([Status.QUEUED], None),
        ([Status.ANSWERED, None], "m_2"),
        ([Status.ANSWERED, None, Status.GENERATING], "m_2"),
        ([Status.FAILED], "m_1"),
        ([Status.FAILED, Status.QUEUED, Status.ANSWERED, None], "m_1"),
        ([Status.GENERATING, Status.ANSWERED, None], None),
    ],
)
def test_the_next_poll_begins_with_the_first_unfinished_prompt(
    statuses: list[Status | None], after: str | None
) -> None:
    assert MessagePage.of(messages_of(*statuses), None, None).poll_after == after
    later = after or "m_0"
    assert MessagePage.of(messages_of(*statuses), "m_0", None).poll_after == later
