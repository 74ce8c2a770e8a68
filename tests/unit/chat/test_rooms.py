"""Request bodies of chatrooms."""

import json
from typing import Any

import msgspec
import pytest

from geminichat.api import parse_json
from geminichat.domain.rooms import NewRoom, RoomChange
from geminichat.errors import InvalidRequest


def new(**fields: Any) -> NewRoom:
    return parse_json(json.dumps(fields).encode(), NewRoom)


def change(**fields: Any) -> RoomChange:
    return parse_json(json.dumps(fields).encode(), RoomChange)


def pointers(parse: Any, **fields: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as error:
        parse(**fields)
    return [problem.pointer for problem in error.value.errors]


@pytest.mark.parametrize("title", ["", "  ", "\n", "\u200b", None])
def test_an_empty_title_or_instruction_counts_as_absent(title: str | None) -> None:
    room = new(title=title, systemInstruction=title)
    assert (room.title, room.system_instruction) == (None, None)
    assert change(title=title).title is None


def test_titles_and_instructions_are_trimmed() -> None:
    assert new(title=" Tea ").title == "Tea"
    assert change(systemInstruction="\tBe brief.\n").system_instruction == "Be brief."


@pytest.mark.parametrize("parse", [new, change])
def test_titles_and_instructions_have_a_maximum_length(parse: Any) -> None:
    assert len(parse(title="x" * 120).title) == 120
    assert len(parse(systemInstruction="x" * 4_000).system_instruction) == 4_000
    assert pointers(parse, title="x" * 121) == ["/title"]
    assert pointers(parse, systemInstruction="x" * 4_001) == ["/systemInstruction"]


@pytest.mark.parametrize("parse", [new, change])
def test_an_invalid_or_unknown_field_of_a_room_is_refused_with_a_pointer(
    parse: Any,
) -> None:
    assert pointers(parse, title="a\0") == ["/title"]
    assert pointers(parse, systemInstruction="\0") == ["/systemInstruction"]
    assert pointers(parse, model="x" * 65) == ["/model"]
    assert pointers(parse, model="") == ["/model"]
    assert pointers(parse, thinking="deep") == ["/thinking"]
    assert pointers(parse, title="a", userId="u_1") == ["/userId"]


def test_a_change_of_a_room_needs_at_least_one_field() -> None:
    assert pointers(change) == [""]
    assert change(model=None).model is None


def test_an_absent_field_of_a_room_change_differs_from_null() -> None:
    changed = change(title=None)
    assert changed.title is None
    assert changed.system_instruction is msgspec.UNSET
    assert changed.model is msgspec.UNSET
