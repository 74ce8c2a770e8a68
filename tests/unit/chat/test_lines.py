"""A room's line, compared with a model that copies the line at every step."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geminichat.domain.lines import MAX_RANGES, Hidden, Line, Range
from geminichat.errors import NothingToUndo, TooManyEdits

RANGES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 8)).map(lambda r: (r[0], sum(r))))


def positions(ranges: list[Range]) -> set[int]:
    return {position for first, last in ranges for position in range(first, last + 1)}


@given(RANGES, st.integers(1, 50))
def test_merged_hidden_ranges_hide_the_same_positions(ranges: list[Range], position: int) -> None:
    hidden, covered = Hidden.of(ranges), positions(ranges)
    assert positions(list(hidden.ranges)) == covered
    assert all(a[1] + 1 < b[0] for a, b in zip(hidden.ranges, hidden.ranges[1:], strict=False))
    assert hidden.has_position(position) == (position in covered)
    back, forward = hidden.skip_back(position), hidden.skip_forward(position)
    assert back not in covered
    assert forward not in covered
    assert set(range(back + 1, position + 1)) <= covered
    assert set(range(position, forward)) <= covered
    assert positions(list(hidden.iterate_shown(position))) == set(range(1, position + 1)) - covered


@dataclass
class Model:
    """A room that copies its line before every edit."""

    last: int = 0
    shown: list[int] = field(default_factory=list)
    before: list[list[int]] = field(default_factory=list)

    def send(self) -> None:
        self.last += 2
        self.shown = [*self.shown, self.last - 1]


@given(st.lists(st.tuples(st.sampled_from(["send", "edit", "edit", "undo"]), st.integers(0))))
def test_each_undo_restores_the_line_from_before_the_edit(steps: list[tuple[str, int]]) -> None:
    model, line = Model(), Line()
    for step, number in steps:
        if step == "edit" and model.shown:
            at = number % len(model.shown)
            try:
                line = line.hide_from(model.shown[at], model.last)
            except TooManyEdits:
                assert len(line.hidden.ranges) >= MAX_RANGES
                continue
            model.before.append(model.shown)
            model.shown = model.shown[:at]
            model.send()
        elif step == "undo":
            if not line.edits:
                with pytest.raises(NothingToUndo):
                    line.undo(model.last)
                continue
            line = line.undo(model.last)
            model.shown = model.before.pop()
        else:
            model.send()
        prompts = range(1, model.last, 2)
        assert [one for one in prompts if not line.hidden.has_position(one)] == model.shown
        assert [one for one in prompts if not line.hidden.has_position(one + 1)] == model.shown
        assert len(line.edits) + len(line.gone) <= MAX_RANGES + 1


def test_the_oldest_edits_become_final_and_too_many_hidden_ranges_are_refused() -> None:
    line, last = Line(), 0
    for _ in range(MAX_RANGES):
        last += 4  # two turns; the second is edited
        line = line.hide_from(last - 1, last)
        last += 2
    assert (len(line.hidden.ranges), line.gone) == (MAX_RANGES, ())
    again = line.hide_from(last - 1, last)  # the range touches the previous one
    assert len(again.hidden.ranges) == MAX_RANGES
    assert again.edits == ((last - 1, last),)
    assert again.undo(last + 2).hidden.skip_back(last + 2) == last
    last += 4
    with pytest.raises(TooManyEdits):
        line.hide_from(last - 1, last)
