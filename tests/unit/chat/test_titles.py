"""Titles: the request to Gemini, the prompt's first words, and the cleaning of generated titles."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import text, titles
from geminichat.domain.messages import CONTENT_LENGTH
from geminichat.domain.rooms import TITLE_LENGTH
from geminichat.domain.spending import StageCap
from tests.support.worst_cost import CATALOGUE

TEXTS = st.text(max_size=3_000) | st.text("aß漢😀 \n", min_size=600, max_size=3_000)


def tokens(content: str) -> int:
    """Return the number of tokens in a text.

    A token is four ASCII characters, or two bytes of other characters.
    """
    sizes = [1 if character.isascii() else 2 * len(character.encode()) for character in content]
    return math.ceil(sum(sizes) / 4)


@pytest.mark.parametrize("character", ["a", "ß", "漢", "😀", "\n", "\u200b"])
def test_a_title_takes_at_most_300_tokens_however_long_prompt_and_reply_are(character: str) -> None:
    asked = titles.question(character * CONTENT_LENGTH, character * CONTENT_LENGTH)
    assert tokens(titles.INSTRUCTION) + tokens(asked) + titles.MAX_OUTPUT_TOKENS <= 300


@given(TEXTS, TEXTS)
def test_a_title_takes_at_most_300_tokens_for_text_in_any_script(prompt: str, reply: str) -> None:
    asked = titles.question(prompt, reply)
    assert tokens(titles.INSTRUCTION) + tokens(asked) + titles.MAX_OUTPUT_TOKENS <= 300


def test_a_title_request_has_the_first_500_characters_of_prompt_and_reply() -> None:
    prompt, reply = "What is a queue? " * 100, "A queue is a line. " * 100
    assert titles.question(prompt, reply) == f"{prompt[:500]}\n---\n{reply[:500]}"
    assert titles.question("Hello", "Hi") == "Hello\n---\nHi"


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Hello", "Hello"),
        ("  if x:\n    return\t1\n", "if x: return 1"),
        ("What\u2028is\u00a0a\u200b queue\u202e?", "What is a queue?"),
        ("word " * 40, ("word " * 12)[:-1].rpartition(" ")[0] + " word…"),
        ("漢" * 100, "漢" * 59 + "…"),
        ("a" * 60, "a" * 60),
        (f"{'a' * 60} b", "a" * 59 + "…"),
    ],
)
def test_the_first_words_of_a_prompt_become_a_title_in_one_line(prompt: str, title: str) -> None:
    assert titles.first_words(prompt) == title


@pytest.mark.parametrize(
    ("generated", "title"),
    [
        ("Queues in brief", "Queues in brief"),
        ('"Queues in brief."\n', "Queues in brief"),
        ("**Queues** in brief", "Queues** in brief"),
        ("# Queues\n\nin\x00 brief\u200b", "Queues in brief"),
        ("word " * 100, "word " * 23 + "word…"),
        ("", None),
        ('"."', None),
        ("\u200b\u2800\n", None),
    ],
)
def test_a_generated_title_is_one_line_without_quotes(generated: str, title: str | None) -> None:
    assert titles.clean(generated) == title


@given(st.text())
def test_every_generated_title_is_valid_as_a_rooms_title(content: str) -> None:
    for title in (titles.first_words(content), titles.clean(content) or ""):
        assert len(title) <= TITLE_LENGTH
        assert title == text.one_line(title)
        assert not any(character.isspace() and character != " " for character in title)
        assert bool(title) == bool(text.trim(title, "title"))


def test_a_title_reserves_the_most_that_its_tokens_can_cost() -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    model = CATALOGUE.cheapest(now.date())
    price = titles.reserve(model, "a" * 1_000, "r_1", now, 5, StageCap(100_000_000))
    assert (price.day, price.cap) == ("2026-11-25", 5)
    input_tokens = (len(titles.INSTRUCTION) + 1_000) / 2
    most = input_tokens * model.price_in + titles.MAX_OUTPUT_TOKENS * model.price_out
    assert price.amount == math.ceil(most / 1_000_000)
