"""How long to wait before a prompt is tried again."""

MAX_PAUSE = 15 * 60.0


def pause(attempt: int, first: float, named: float | None, chance: float) -> int:
    """Return whole seconds to wait after attempt number `attempt` failed.

    Pauses double from `first`, with up to a quarter of jitter (`chance`, 0 to 1, decides), and are
    never shorter than the pause that Gemini named, nor longer than fifteen minutes.
    """
    growing = first * 2 ** min(attempt - 1, 20) * (1 + 0.25 * chance)
    return round(min(MAX_PAUSE, max(growing, (named or 0) + chance, 1)))
