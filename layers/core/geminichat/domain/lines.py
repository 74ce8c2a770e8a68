"""A room's line: the turns that the room shows, which are all turns outside its hidden ranges.

An edit or a regeneration hides the turns from a position on and adds its own turn at the end. An
undo restores the previous line: it shows the hidden turns again and hides the later ones. So the
line before a shown turn never changes. The hidden ranges at the time when a prompt was sent
determine its history.
"""

from collections.abc import Iterable, Iterator

import msgspec

from geminichat.errors import NothingToUndo, TooManyEdits

MAX_RANGES = 50
"""The most hidden ranges in a room; each prompt's item has a copy of the room's ranges."""

type Range = tuple[int, int]
"""The first and the last position of a range."""


class Hidden(msgspec.Struct, frozen=True):
    """Hidden ranges, in order and merged: no two ranges overlap or touch."""

    ranges: tuple[Range, ...] = ()

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> "Hidden":
        """Merge the ranges, and return them as Hidden."""
        merged: list[Range] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    def has_position(self, position: int) -> bool:
        """Return whether one of these hidden ranges contains the position."""
        return any(first <= position <= last for first, last in self.ranges)

    def skip_back(self, position: int) -> int:
        """Return the last position up to `position` that is not hidden, or 0 if all are hidden."""
        return next(
            (first - 1 for first, last in self.ranges if first <= position <= last), position
        )

    def skip_forward(self, position: int) -> int:
        """Return the first position from `position` on that is not hidden."""
        return next(
            (last + 1 for first, last in self.ranges if first <= position <= last), position
        )

    def iterate_shown(self, last: int) -> Iterator[Range]:
        """Yield the ranges of shown positions, up to the position `last`."""
        start = 1
        for first, end in (*self.ranges, (last + 1, last)):
            if start <= min(first - 1, last):
                yield start, min(first - 1, last)
            start = end + 1


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """The hidden ranges of a room: an undo can show `edits` again, but not `gone`."""

    edits: tuple[Range, ...] = ()
    """One range per edit or regeneration, oldest first."""
    gone: tuple[Range, ...] = ()

    @property
    def hidden(self) -> Hidden:
        """All hidden ranges, merged."""
        return Hidden.of((*self.gone, *self.edits))

    def hide_from(self, position: int, last: int) -> "Line":
        """Return the line that ends before `position`; `last` is the room's last position.

        If there are too many ranges, the oldest edits can no longer be undone. Raises TooManyEdits
        if there are still too many ranges.
        """
        edits, gone = [*self.edits, (position, last)], self.gone
        while len(edits) + len(gone) > MAX_RANGES and len(edits) > 1:
            gone = Hidden.of((*gone, edits.pop(0))).ranges
        line = Line(tuple(edits), gone)
        if len(line.hidden.ranges) > MAX_RANGES:
            raise TooManyEdits()
        return line

    def undo(self, last: int) -> "Line":
        """Return the line before the latest edit; `last` is the room's last position.

        Raises NothingToUndo.
        """
        if not self.edits:
            raise NothingToUndo()
        *edits, (_, end) = self.edits
        return Line(tuple(edits), Hidden.of((*self.gone, (end + 1, last))).ranges)
