"""Cursors: only genuine ones are read, and only for their own list."""

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
POSITION = Position(chatroom_id="r_1", updated_at="2026-11-23T12:00:00.000Z")


def write(position: Any = POSITION, scope: str = SCOPE, kid: str = "k1") -> str:
    return cursors.write(position, scope, kid, KEYS[kid])


def check_refused(cursor: str, kind: type = Position, scope: str = SCOPE, keys: Any = KEYS) -> None:
    with pytest.raises(InvalidRequest) as error:
        cursors.read(cursor, kind, scope, keys)
    assert "cursor" in error.value.detail


@given(
    position=st.builds(Position, chatroom_id=st.text(), updated_at=st.text()),
    scope=st.text(),
    kid=st.sampled_from(sorted(KEYS)),
)
def test_a_written_cursor_is_read_as_the_same_position(
    position: Position, scope: str, kid: str
) -> None:
    assert cursors.read(write(position, scope, kid), Position, scope, KEYS) == position


@given(st.integers(1, 10**15))
def test_a_cursor_with_a_numeric_position_needs_no_escaping_in_a_query(seq: int) -> None:
    cursor = write(seq)
    assert cursors.read(cursor, int, SCOPE, KEYS) == seq
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(st.text())
def test_an_arbitrary_text_is_refused_as_a_cursor(text: str) -> None:
    check_refused(text)
    check_refused(f"k1.{text}")


@given(st.data())
def test_a_cursor_with_a_changed_character_is_refused(data: st.DataObject) -> None:
    cursor = write()
    index = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda one: one != cursor[index]))
    forged = cursor[:index] + other + cursor[index + 1 :]
    try:
        found = cursors.read(forged, Position, SCOPE, KEYS)
    except InvalidRequest:
        return
    assert found == POSITION, "a forged cursor was read as another position"


@given(st.integers(0, len(write()) - 1))
def test_a_truncated_cursor_is_refused(length: int) -> None:
    check_refused(write()[:length])


def test_a_cursor_with_trailing_text_is_refused() -> None:
    for more in ("A", "AA", "AAAA", ".", " "):
        with pytest.raises(InvalidRequest):
            cursors.read(write() + more, Position, SCOPE, KEYS)


@pytest.mark.parametrize(
    "scope", ["u_bob rooms", "u_ann messages of r_1", "u_ann rooms ", "u_ann", ""]
)
def test_a_cursor_of_another_list_or_user_is_refused(scope: str) -> None:
    check_refused(write(scope=scope))


def test_a_cursor_of_a_removed_signing_key_or_with_another_kid_is_refused() -> None:
    check_refused(write(kid="k2"), keys={"k1": KEYS["k1"]})
    check_refused(write(kid="k2").replace("k2.", "k1.", 1))
    check_refused(write().replace("k1.", "k9.", 1))
    check_refused(write().removeprefix("k1."))


def test_a_cursor_of_the_previous_signing_key_is_accepted_until_that_key_is_removed() -> None:
    assert cursors.read(write(kid="k2"), Position, SCOPE, KEYS) == POSITION


def test_a_genuine_cursor_of_another_type_is_refused() -> None:
    check_refused(write(7))
    check_refused(write(), kind=int)
    check_refused(write("7"), kind=int)
    check_refused(write(7.5), kind=int)


def test_a_cursor_with_a_replaced_position_is_refused() -> None:
    kid, _, text = write(7).partition(".")
    blob = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    for payload in (b"8", b"77", json.dumps(None).encode(), b""):
        forged = base64.urlsafe_b64encode(blob[: cursors.MAC_BYTES] + payload).decode().rstrip("=")
        check_refused(f"{kid}.{forged}", kind=int)


def test_a_scope_that_contains_a_separator_does_not_match_another_scope() -> None:
    written = write(1, scope="a")
    check_refused(written, kind=int, scope='a\0"1"')
    check_refused(write("x", scope="a\0b"), kind=str, scope="a")
