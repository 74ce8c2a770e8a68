"""Ids and fingerprints; only a well-formed id reaches a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import ids
from geminichat.domain.ids import fingerprint
from geminichat.errors import NotFound

ROOM, OTHER = "r_" + "k4x7" * 6 + "q2", "r_" + "p6m3" * 6 + "z5"


def test_new_ids_are_unique_and_well_formed() -> None:
    room = ids.new("r")
    assert ids.parse_room(room) == room
    assert len({ids.new("r") for _ in range(100)}) == 100


@pytest.mark.parametrize("kind", ["u", "s", "", "r_"])
def test_an_id_of_another_kind_is_not_found(kind: str) -> None:
    with pytest.raises(NotFound):
        ids.parse_room(ids.new(kind))


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
def test_a_malformed_room_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFound):
        ids.parse_room(text)


@given(st.text())
def test_an_arbitrary_text_is_not_found_as_a_room_or_message_id(text: str) -> None:
    with pytest.raises(NotFound):
        ids.parse_room(text)
    with pytest.raises(NotFound):
        ids.message_seq(ROOM, text)


@given(st.integers(1, 10**15 - 1))
def test_a_message_id_is_accepted_only_in_its_own_room(seq: int) -> None:
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
def test_the_position_in_a_message_id_is_a_number_of_at_most_fifteen_digits(seq: str) -> None:
    with pytest.raises(NotFound):
        ids.message_seq(ROOM, ids.message_id(ROOM, 1)[:-1] + seq)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_two_fingerprints_are_equal_only_if_their_parts_are_equal(
    one: list[str], other: list[str]
) -> None:
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)


def test_fingerprints_differ_if_the_same_text_is_divided_differently() -> None:
    assert fingerprint("ab", "c") != fingerprint("a", "bc") != fingerprint("abc")
    assert fingerprint("a", "") != fingerprint("a")
