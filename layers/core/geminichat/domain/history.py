"""The part of a room's past that is sent to Gemini with a prompt."""

from collections.abc import Sequence

import msgspec


class PastTurn(msgspec.Struct, frozen=True):
    """An answered prompt and its reply."""

    prompt: str
    reply: str


def select_latest(turns: Sequence[PastTurn], characters: int) -> list[PastTurn]:
    """Return the latest turns, oldest first, whose total length is at most `characters`."""
    selected: list[PastTurn] = []
    for turn in reversed(turns):
        characters -= len(turn.prompt) + len(turn.reply)
        if characters < 0:
            break
        selected.append(turn)
    return selected[::-1]
