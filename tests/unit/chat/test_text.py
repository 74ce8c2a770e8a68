"""What people type: trimmed, seen, cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.text import seen, within
from geminichat.errors import InvalidField

UNSEEN = {
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


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_what_nobody_can_see_is_empty(text: str) -> None:
    assert seen(text, "x") == ""
    assert seen(f"{text}a{text}", "x").strip(text or " ") == "a"


@pytest.mark.parametrize(
    "text", ["a", "0", ".", "é", "\u0301", "👩‍👩‍👧", "🏴\U000e0067\U000e007f", "\ue000", "🫩", "ﷲ"]
)
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    assert seen(f" {text}\n", "x") == text


@pytest.mark.parametrize("text", ["\0", "a\0b", " \0 ", "\u200b\0"])
def test_a_nul_is_refused_wherever_it_stands(text: str) -> None:
    with pytest.raises(InvalidField) as error:
        seen(text, "title")
    assert error.value.name == "title"


@given(st.text(), st.integers(0, 40))
def test_a_text_is_cut_between_characters_and_keeps_all_that_fits(text: str, size: int) -> None:
    kept = within(text, size)
    assert text.startswith(kept)
    assert len(kept.encode()) <= size
    following = text[len(kept) : len(kept) + 1]
    assert not following or len((kept + following).encode()) > size
