"""How much of a room's past goes along with a prompt."""

from collections.abc import Sequence

import msgspec


class PastTurn(msgspec.Struct, frozen=True):
    """An answered prompt and its reply."""

    prompt: str
    reply: str


def bounded(turns: Sequence[PastTurn], characters: int) -> list[PastTurn]:
    """Return the latest turns, oldest first, that stay within `characters` together."""
    kept: list[PastTurn] = []
    for turn in reversed(turns):
        characters -= len(turn.prompt) + len(turn.reply)
        if characters < 0:
            break
        kept.append(turn)
    return kept[::-1]
