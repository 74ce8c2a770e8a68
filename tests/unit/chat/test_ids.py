"""Identifiers: only what has their form ever reaches a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import ids
from geminichat.errors import NotFound

ROOM, OTHER = "r_" + "k4x7" * 6 + "q2", "r_" + "p6m3" * 6 + "z5"


def test_a_new_one_is_known_as_its_kind_and_no_other() -> None:
    room = ids.new("r")
    assert ids.known("r", room) == room
    assert len({ids.new("r") for _ in range(100)}) == 100
    for kind in ("u", "s", "", "r_"):
        with pytest.raises(NotFound):
            ids.known(kind, room)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "r",
        "r_",
        "_",
        ROOM[:-1],
        ROOM + "a",
        ROOM.upper(),
        ROOM + "\n",
        f" {ROOM}",
        "r_" + "1" * 26,
        "r_" + "é" * 26,
        "r_" + "a" * 25 + "\0",
        ROOM.replace("_", "__"),
        "r_" + "../" * 8 + "aa",
    ],
)
def test_what_has_another_form_is_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        ids.known("r", text)


@given(st.text())
def test_no_text_makes_it_do_otherwise_than_say_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        ids.known("r", text)
    with pytest.raises(NotFound):
        ids.message_seq(ROOM, text)


@given(st.integers(1, 10**15 - 1))
def test_a_message_is_found_by_its_room_and_place(seq: int) -> None:
    assert ids.message_seq(ROOM, ids.message_id(ROOM, seq)) == seq
    with pytest.raises(NotFound):
        ids.message_seq(OTHER, ids.message_id(ROOM, seq))


@pytest.mark.parametrize(
    "seq",
    [
        "",
        "0",
        "-1",
        "+1",
        "01",
        "1.0",
        "1e3",
        " 1",
        "1 ",
        "1\n",
        "\u0661",
        "1_000",
        "0x1",
        "1" + "0" * 15,
    ],
)
def test_a_place_is_a_whole_number_from_one_of_fifteen_digits_at_most(seq: str) -> None:
    with pytest.raises(NotFound):
        ids.message_seq(ROOM, ids.message_id(ROOM, 1)[:-1] + seq)
