"""How texts are trimmed, validated and truncated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.text import GeneratedText, trim, trim_lines, truncate
from geminichat.errors import InvalidField

INVISIBLE = {
    "nothing": "",
    "space": " \t\r\n",
    "no-break and ideographic space": "\u00a0\u3000",
    "zero width": "\u200b\u200c\u200d\u2060\ufeff",
    "directions": "\u200e\u202e\u2066\u2069",
    "controls": "\x01\x08\x1b\x7f\x85",
    "soft hyphens": "\u00ad\u00ad",
    "fillers of Hangul": "\u115f\u1160\u3164\uffa0",
    "a Braille pattern without dots": "\u2800",
    "variation selectors and tags": "\ufe0f\U000e0020\U000e007f\U000e0100",
    "some of each": " \u200b\n\u3164 \ufeff",
}


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_a_text_without_visible_characters_is_empty(text: str) -> None:
    assert trim(text, "x") == ""
    assert trim(f"{text}a{text}", "x").strip(text or " ") == "a"


@pytest.mark.parametrize(
    "text", ["a", "0", ".", "é", "\u0301", "👩‍👩‍👧", "🏴\U000e0067\U000e007f", "\ue000", "🫩", "ﷲ"]
)
def test_trimming_keeps_visible_characters(text: str) -> None:
    assert trim(f" {text}\n", "x") == text


@pytest.mark.parametrize("text", ["\0", "a\0b", " \0 ", "\u200b\0"])
def test_a_text_with_a_nul_character_is_refused(text: str) -> None:
    with pytest.raises(InvalidField) as error:
        trim(text, "title")
    assert error.value.name == "title"


@given(st.text(), st.integers(0, 40))
def test_a_text_is_truncated_between_characters(text: str, size: int) -> None:
    kept = truncate(text, size)
    assert text.startswith(kept)
    assert len(kept.encode()) <= size
    following = text[len(kept) : len(kept) + 1]
    assert not following or len((kept + following).encode()) > size


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        (["Forty", "-two.\n"], ["Forty", "-two."]),
        (["before\0", "\0after"], ["before", "after"]),
        (["\u200b", "\u2060"], ["", ""]),
        (["\n  ", "  if x:\n", "\n\n", "    y"], ["", "    if x:", "", "\n\n\n    y"]),
    ],
)
def test_a_text_generated_in_pieces_is_trimmed_like_a_whole_text(
    pieces: list[str], kept: list[str]
) -> None:
    text = GeneratedText(100)
    assert [text.add(piece) for piece in pieces] == kept


@given(st.lists(st.text(" \n\0\u200bab😀")), st.integers(1, 40))
def test_a_growing_text_is_always_a_beginning_of_the_stored_text(
    pieces: list[str], size: int
) -> None:
    whole = trim_lines("".join(pieces).replace("\0", ""), "content")
    text, shown = GeneratedText(size), ""
    for piece in pieces:
        shown += text.add(piece)
        assert whole.startswith(shown)
    assert shown == str(text) == truncate(whole, size)
    assert text.is_cut == (shown != whole)
