"""Events of a streamed reply, for the fault "answer" of the stand-in for Gemini."""

from collections.abc import Iterable
from typing import Any


def piece(text: str) -> dict[str, Any]:
    """Return an event with a piece of a reply."""
    return {"candidates": [{"content": {"parts": [{"text": text}]}}]}


def last(text: str = "") -> dict[str, Any]:
    """Return the last event of a reply, for 8 input tokens and 12 output tokens."""
    [candidate] = piece(text)["candidates"] if text else [{}]
    usage = {"promptTokenCount": 8, "totalTokenCount": 20}
    return {"candidates": [candidate | {"finishReason": "STOP"}], "usageMetadata": usage}


def whole(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Return all events of a reply in these pieces."""
    return [*map(piece, texts), last()]
