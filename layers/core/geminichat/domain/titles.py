"""Titles of rooms: the text that is sent to Gemini, and the title that results.

A room with the default title first gets the prompt's first words as its title, then Gemini's title.
"""

from datetime import datetime
from itertools import accumulate

from geminichat.domain import spending, text, times
from geminichat.domain.models import Model
from geminichat.domain.rooms import TITLE_LENGTH
from geminichat.domain.spending import Reservation, StageCap

INSTRUCTION = "Title this chat in its language: at most six words, no quotes."

MAX_OUTPUT_TOKENS = 24

EXCERPT = 500
"""Gemini gets at most this many characters of the prompt, and of the reply; fewer if not ASCII."""

WORDS_LENGTH = 60
"""The most characters of a title made of the prompt's first words."""

_DECORATION = " \"'`*_#.“”„«»"


def question(prompt: str, reply: str) -> str:
    """Return the text that needs a title: the beginnings of a prompt and of its reply."""
    return f"{_excerpt(prompt)}\n---\n{_excerpt(reply)}"


def _excerpt(content: str) -> str:
    """Return the beginning of a text: at most 500 characters, and about 125 tokens.

    Four ASCII characters, or two bytes of other text, are estimated as one token.
    """
    sizes = (1 if character.isascii() else 2 * len(character.encode()) for character in content)
    return content[: sum(size <= EXCERPT for size in accumulate(sizes))]


def reserve(
    model: Model, asked: str, chatroom_id: str, now: datetime, cap: int, stage_cap: StageCap
) -> Reservation:
    """Return a reservation of the highest possible cost of a room's title."""
    return spending.reserve_tokens(
        model=model,
        day=times.day(now),
        prompt=f"{chatroom_id} title",
        input_tokens=spending.estimate_tokens(INSTRUCTION + asked),
        output_tokens=MAX_OUTPUT_TOKENS,
        cap=cap,
        stage_cap=stage_cap,
    )


def first_words(prompt: str) -> str:
    """Return a title made of the first words of a prompt."""
    return text.shorten(text.one_line(prompt), WORDS_LENGTH)


def clean(generated: str) -> str | None:
    """Return a generated title without quotes and Markdown around it, or None if it is empty."""
    return text.shorten(text.one_line(generated).strip(_DECORATION), TITLE_LENGTH) or None
