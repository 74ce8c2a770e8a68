"""The earlier turns of a room that are sent to Gemini with a prompt."""

from collections.abc import Sequence

import msgspec


class PastTurn(msgspec.Struct, frozen=True):
    """An answered prompt and its reply."""

    prompt: str
    reply: str


CUT = "[…]\n"
"""The mark that replaces the beginning of a cut text."""

LEAST = 4 * len(CUT)
"""A cut turn is sent only if at least this many characters are left for it."""


def select_turns(turns: Sequence[PastTurn], characters: int) -> list[PastTurn]:
    """Return the turns to send with a prompt, oldest first; in total at most `characters` long.

    Turns that fit are sent whole, the latest first. If turns do not fit, the latest of these turns
    is cut and only its end is sent. The room's latest turn gets at least half of all characters if
    it needs them.
    """
    kept: dict[int, PastTurn] = {}
    too_long: int | None = None
    left, reserved = characters, 0
    for number in range(len(turns) - 1, -1, -1):
        if _size(turns[number]) <= left - reserved:
            kept[number] = turns[number]
            left -= _size(turns[number])
        elif too_long is None:
            too_long = number
            reserved = characters // 2 if number == len(turns) - 1 else 0
    if too_long is not None and left >= LEAST:
        kept[too_long] = _end_of(turns[too_long], left)
    return [kept[number] for number in sorted(kept)]


def _size(turn: PastTurn) -> int:
    return len(turn.prompt) + len(turn.reply)


def _end_of(turn: PastTurn, characters: int) -> PastTurn:
    prompt = _end(turn.prompt, max(characters // 2, characters - len(turn.reply)))
    return PastTurn(prompt=prompt, reply=_end(turn.reply, characters - len(prompt)))


def _end(text: str, characters: int) -> str:
    return text if len(text) <= characters else CUT + text[len(text) - characters + len(CUT) :]
