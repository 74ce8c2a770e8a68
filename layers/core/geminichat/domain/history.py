"""The earlier turns of a room that are sent to Gemini with a prompt."""

from collections.abc import Sequence

import msgspec


class PastTurn(msgspec.Struct, frozen=True):
    """An answered prompt and its reply."""

    prompt: str
    reply: str


CUT = "[…]\n"
"""The mark at the start of a text that was cut at its start."""

LEAST = 4 * len(CUT)
"""The end of a turn is sent only if it has at least this many characters."""


def select_turns(turns: Sequence[PastTurn], characters: int) -> list[PastTurn]:
    """Return the turns to send with a prompt, oldest first, of at most `characters` together.

    Turns that fit are sent whole, the latest first. The remaining characters go to the end of the
    latest turn that does not fit. At least half of all characters are for the room's latest turn.
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
