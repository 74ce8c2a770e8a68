"""Frames of live replies, and the rule for reading frames."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import live
from geminichat.domain.live import (
    MAX_FRAME,
    AgainFrame,
    EndedFrame,
    Frame,
    LookFrame,
    Partial,
    RoomFrame,
    TextFrame,
)
from tests.support import reader_rule
from tests.support.reader_rule import Fetch, Shown

FACE = "\U0001f600"  # two UTF-16 code units


def text_frame(attempt: int, start: int, text: str) -> TextFrame:
    return TextFrame(message_id="m_1", attempt=attempt, start=start, text=text)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (text_frame(1, 0, "ab"), {"type": "text", "attempt": 1, "from": 0, "text": "ab"}),
        (LookFrame("m_1"), {"type": "look"}),
        (AgainFrame(message_id="m_1", attempt=2), {"type": "again", "attempt": 2}),
        (EndedFrame(message_id="m_1", status="failed"), {"type": "ended", "status": "failed"}),
    ],
)
def test_a_frame_has_its_type_and_the_field_names_of_the_contract(
    frame: Frame, expected: dict[str, object]
) -> None:
    assert msgspec.json.decode(live.encode(frame)) == {"messageId": "m_1"} | expected
    assert reader_rule.decode(live.encode(frame)) == frame


def test_a_frame_about_a_room_names_the_room() -> None:
    frame = RoomFrame(chatroom_id="r_1")
    assert msgspec.json.decode(live.encode(frame)) == {"type": "room", "chatroomId": "r_1"}


def test_a_frame_of_a_later_release_is_ignored() -> None:
    assert reader_rule.decode('{"type": "presence", "messageId": "m_1"}') is None


@pytest.mark.parametrize("character", ["x", '"', FACE, "\u0430"])
def test_a_text_too_large_for_a_frame_is_replaced_by_a_request_to_fetch_it(character: str) -> None:
    at_most = (MAX_FRAME - 200) // len(msgspec.json.encode(character)[1:-1])
    assert isinstance(
        reader_rule.decode(live.encode(text_frame(1, 0, character * at_most))), TextFrame
    )
    frame = live.encode(text_frame(1, 0, character * MAX_FRAME))
    assert reader_rule.decode(frame) == LookFrame("m_1")


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (text_frame(2, 4, "ef"), Shown(2, "abcdef")),
        (text_frame(2, 2, "cde"), Shown(2, "abcde")),
        (text_frame(2, 0, "abc"), Shown(2, "abcd")),  # an older frame that was overtaken
        (text_frame(2, 5, "f"), Fetch(4)),  # a frame before it was lost
        (text_frame(1, 0, "abcdefgh"), Shown(2, "abcd")),
        (text_frame(3, 0, "x"), Shown(3, "x")),
        (text_frame(3, 1, "x"), Fetch(0)),
        (Partial(attempt=2, start=4, text="ef"), Shown(2, "abcdef")),
        (AgainFrame(message_id="m_1", attempt=3), Shown(3, "")),
        (AgainFrame(message_id="m_1", attempt=2), Shown(2, "abcd")),
        (LookFrame("m_1"), Fetch(4)),
        (EndedFrame(message_id="m_1", status="answered"), Fetch(4)),
    ],
)
def test_a_frame_changes_the_shown_text_or_causes_a_fetch_or_is_ignored(
    frame: live.PromptFrame | Partial, expected: Shown | Fetch
) -> None:
    assert reader_rule.read(Shown(2, "abcd"), frame) == expected


def test_offsets_in_frames_count_utf_16_code_units() -> None:
    assert live.utf16_length(f"a{FACE}b") == 4
    assert reader_rule.read(Shown(1, f"a{FACE}"), text_frame(1, 3, "b")) == Shown(1, f"a{FACE}b")


@given(st.text(), st.text())
def test_a_text_is_cut_at_an_offset_as_javascript_would_cut_it(first: str, second: str) -> None:
    units = live.utf16_length(first)
    assert reader_rule.beginning(first + second, units) == first
    assert live.skip_units(first + second, units) == second
