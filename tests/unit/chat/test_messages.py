"""What a prompt may be, and how requests are told apart."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.api import parse_json
from geminichat.domain.messages import (
    BLOCKED,
    CONTENT_LENGTH,
    REFUSED,
    UNAVAILABLE,
    Accepted,
    Message,
    MessagePage,
    NewPrompt,
    Status,
    fingerprint,
)
from geminichat.errors import InvalidRequest


def prompt(content: Any) -> str:
    return parse_json(json.dumps({"content": content}).encode(), NewPrompt).content


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("a", "a"),
        ("  a\n", "a"),
        ("x" * CONTENT_LENGTH, "x" * CONTENT_LENGTH),
        (" " * 9 + "x" * CONTENT_LENGTH + "\n", "x" * CONTENT_LENGTH),
        ("🙂" * CONTENT_LENGTH, "🙂" * CONTENT_LENGTH),
        ("\u200ba", "\u200ba"),
    ],
    ids=["one", "trimmed", "16,000", "16,000 once trimmed", "16,000 of four bytes", "zero width"],
)
def test_a_prompt_is_1_to_16_000_characters_once_trimmed(content: str, kept: str) -> None:
    assert prompt(content) == kept


@pytest.mark.parametrize(
    "content",
    [
        "",
        " \n",
        "x" * (CONTENT_LENGTH + 1),
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
def test_what_is_none_is_refused_with_a_pointer_to_the_content(content: Any) -> None:
    with pytest.raises(InvalidRequest) as error:
        prompt(content)
    assert [problem.pointer for problem in error.value.errors] == ["/content"]


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_only_the_same_parts_have_the_same_fingerprint(one: list[str], other: list[str]) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


def test_no_two_lists_run_together() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc") != fingerprint("abc")
    assert fingerprint("a", "") != fingerprint("a")


def test_every_failure_tells_its_user_what_to_do() -> None:
    for failure in (BLOCKED, REFUSED, UNAVAILABLE):
        assert "again" in failure.message
        assert failure.message.endswith(".")


def test_who_is_accepted_is_told_where_the_prompt_stands() -> None:
    message = Message(
        id="m_1", sender="user", content="Hi", created_at="then", status=Status.ANSWERED
    )
    told = Accepted.of(message, "m_1-0-0")
    assert (told.message_id, told.job_id, told.status) == ("m_1", "m_1-0-0", "answered")


def shown(*ends: Status | None) -> list[Message]:
    """Return messages m_1, m_2 …: prompts that stand so, and a reply for None."""
    return [
        Message(id=f"m_{n}", sender="user", content="Hi", created_at="then", status=status)
        if status
        else Message(id=f"m_{n}", sender="ai", content="Hi", created_at="then")
        for n, status in enumerate(ends, 1)
    ]


@pytest.mark.parametrize(
    ("ends", "after"),
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
def test_polling_goes_on_before_the_first_prompt_that_has_not_ended(
    ends: list[Status | None], after: str | None
) -> None:
    assert MessagePage.of(shown(*ends), None, None).poll_after == after
    later = after or "m_0"
    assert MessagePage.of(shown(*ends), "m_0", None).poll_after == later
