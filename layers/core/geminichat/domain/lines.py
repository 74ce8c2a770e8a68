"""A room's line: the turns that it shows, which are its positions less its hidden ranges.

An edit or a regeneration hides the turns from a position on, and its own turn comes after them. An
undo restores exactly the line before it: it shows these turns again, and hides what came after
them. So the line before a shown turn never changes, and the ranges at the time when a prompt was
sent are enough to know its history.
"""

from collections.abc import Iterable, Iterator

import msgspec

from geminichat.errors import NothingToUndo, TooManyEdits

MAX_RANGES = 50
"""The most ranges that an edit may leave hidden; each later prompt of the room holds them."""

type Range = tuple[int, int]
"""The first and the last position of a range."""


class Hidden(msgspec.Struct, frozen=True):
    """Hidden ranges, in order and merged: none overlaps or touches another."""

    ranges: tuple[Range, ...] = ()

    @classmethod
    def of(cls, ranges: Iterable[Range]) -> "Hidden":
        """Return these ranges, merged."""
        merged: list[Range] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = merged[-1][0], max(last, merged[-1][1])
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    def has_position(self, position: int) -> bool:
        """Return whether a position is hidden."""
        return any(first <= position <= last for first, last in self.ranges)

    def skip_back(self, position: int) -> int:
        """Return the last position up to this one that is not hidden; 0 for none."""
        return next(
            (first - 1 for first, last in self.ranges if first <= position <= last), position
        )

    def skip_forward(self, position: int) -> int:
        """Return the first position from this one on that is not hidden."""
        return next(
            (last + 1 for first, last in self.ranges if first <= position <= last), position
        )

    def iterate_shown(self, last: int) -> Iterator[Range]:
        """Yield the ranges up to a position that are not hidden."""
        start = 1
        for first, end in (*self.ranges, (last + 1, last)):
            if start <= min(first - 1, last):
                yield start, min(first - 1, last)
            start = end + 1


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """The hidden ranges of a room: those that an undo shows again, and those hidden for good."""

    edits: tuple[Range, ...] = ()
    """One range per edit or regeneration, the latest last."""
    gone: tuple[Range, ...] = ()

    @property
    def hidden(self) -> Hidden:
        """The positions that are not in the line."""
        return Hidden.of((*self.gone, *self.edits))

    def hide_from(self, position: int, last: int) -> "Line":
        """Return the line that ends before `position`; `last` is the room's last position.

        The oldest edits can no longer be undone when there are too many ranges. Raises
        TooManyEdits.
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
