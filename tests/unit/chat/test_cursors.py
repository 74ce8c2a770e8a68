"""Cursors: they come back as they went, and nothing else is one."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain import cursors
from geminichat.domain.rooms import Position
from geminichat.errors import InvalidRequest

KEYS = {"k1": b"1" * 32, "k2": b"2" * 32}
SCOPE = "u_ann rooms"
PLACE = Position(chatroom_id="r_1", updated_at="2026-11-23T12:00:00.000Z")


def write(position: Any = PLACE, scope: str = SCOPE, kid: str = "k1") -> str:
    return cursors.write(position, scope, kid, KEYS[kid])


def refused(cursor: str, kind: type = Position, scope: str = SCOPE, keys: Any = KEYS) -> None:
    with pytest.raises(InvalidRequest) as error:
        cursors.read(cursor, kind, scope, keys)
    assert "cursor" in error.value.detail


@given(
    position=st.builds(Position, chatroom_id=st.text(), updated_at=st.text()),
    scope=st.text(),
    kid=st.sampled_from(sorted(KEYS)),
)
def test_a_cursor_comes_back_as_it_went(position: Position, scope: str, kid: str) -> None:
    assert cursors.read(write(position, scope, kid), Position, scope, KEYS) == position


@given(st.integers(1, 10**15))
def test_a_cursor_may_be_a_place_in_a_room_and_fits_into_a_query(seq: int) -> None:
    cursor = write(seq)
    assert cursors.read(cursor, int, SCOPE, KEYS) == seq
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(st.text())
def test_what_anybody_may_write_is_none(text: str) -> None:
    refused(text)
    refused(f"k1.{text}")


@given(st.data())
def test_no_character_of_it_may_be_another(data: st.DataObject) -> None:
    cursor = write()
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != cursor[place]))
    forged = cursor[:place] + other + cursor[place + 1 :]
    try:
        found = cursors.read(forged, Position, SCOPE, KEYS)
    except InvalidRequest:
        return
    assert found == PLACE, "a forged cursor was read as another place"


@given(st.integers(0, len(write()) - 1))
def test_none_that_is_cut_short_is_read(length: int) -> None:
    refused(write()[:length])


def test_one_with_more_behind_it_is_not_read() -> None:
    for more in ("A", "AA", "AAAA", ".", " "):
        with pytest.raises(InvalidRequest):
            cursors.read(write() + more, Position, SCOPE, KEYS)


@pytest.mark.parametrize(
    "scope", ["u_bob rooms", "u_ann messages of r_1", "u_ann rooms ", "u_ann", ""]
)
def test_one_of_another_list_or_user_is_not_read(scope: str) -> None:
    refused(write(scope=scope))


def test_one_of_a_key_that_is_no_more_or_of_another_kid_is_not_read() -> None:
    refused(write(kid="k2"), keys={"k1": KEYS["k1"]})
    refused(write(kid="k2").replace("k2.", "k1.", 1))
    refused(write().replace("k1.", "k9.", 1))
    refused(write().removeprefix("k1."))


def test_one_of_the_key_before_is_read_while_that_is_known() -> None:
    assert cursors.read(write(kid="k2"), Position, SCOPE, KEYS) == PLACE


def test_a_genuine_one_of_another_kind_of_list_is_not_read() -> None:
    refused(write(7))
    refused(write(), kind=int)
    refused(write("7"), kind=int)
    refused(write(7.5), kind=int)


def test_what_it_holds_cannot_be_exchanged() -> None:
    kid, _, text = write(7).partition(".")
    blob = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for payload in (b"8", b"77", json.dumps(None).encode(), b""):
        forged = base64.urlsafe_b64encode(blob[: cursors.MAC_BYTES] + payload).decode().rstrip("=")
        refused(f"{kid}.{forged}", kind=int)


def test_the_end_of_a_scope_does_not_run_into_the_position() -> None:
    """Or who may name rooms might write himself a position."""
    written = write(1, scope="a")
    refused(written, kind=int, scope='a\0"1"')
    refused(write("x", scope="a\0b"), kind=str, scope="a")
