"""Events of a streamed reply, which the stand-in for Gemini sends by its fault "answer"."""

from collections.abc import Iterable
from typing import Any


def piece(text: str) -> dict[str, Any]:
    """Return an event with a piece of a reply."""
    return {"candidates": [{"content": {"parts": [{"text": text}]}}]}


def last(text: str = "") -> dict[str, Any]:
    """Return the last event of a reply, with its text if it has any; 8 tokens in, 12 out."""
    [candidate] = piece(text)["candidates"] if text else [{}]
    usage = {"promptTokenCount": 8, "totalTokenCount": 20}
    return {"candidates": [candidate | {"finishReason": "STOP"}], "usageMetadata": usage}


def whole(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Return the events of a reply in these pieces."""
    return [*map(piece, texts), last()]
