"""Collect the secrets in requests and responses, to search the log for them."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

SECRET_FIELDS = {
    "password",
    "newPassword",
    "currentPassword",
    "otp",
    "token",
    "refreshToken",
    "email",
    "mobile",
}
SHORTEST = 6
"""Characters; shorter values are invalid test input, which occurs in every log by chance."""

WORD = re.compile("[0-9A-Za-z]+")


@contextmanager
def collect_secrets(into: set[str]) -> Iterator[None]:
    """Add the secrets in requests and responses to the set while the block runs."""
    original = httpx.Client.send

    def note(secrets: Iterable[str]) -> None:
        into.update(secret for secret in secrets if len(secret) >= SHORTEST)

    def send(self: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
        note(_secrets_in(_parse(request.content)))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        note([token] if scheme == "Bearer" else [])
        answer = original(self, request, **more)
        note(_secrets_in(_parse(answer.content)))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "send", send)
        yield


def find_in(text: str, secrets: Iterable[str]) -> list[str]:
    """Return the secrets that a text contains; digits inside a longer number are no secret.

    There are thousands of secrets. A secret is searched for only if the text has all its words.
    """
    words = set(WORD.findall(text))
    return [
        secret
        for secret in secrets
        for written in {secret, json.dumps(secret)[1:-1]}
        if words.issuperset(WORD.findall(written))
        and re.search(rf"(?<![0-9A-Za-z]){re.escape(written)}(?![0-9A-Za-z])", text)
    ]


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _secrets_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in SECRET_FIELDS and isinstance(inner, str):
                yield inner
            else:
                yield from _secrets_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets_in(inner)
