"""The sample events in tests/events, one per function, with their {{placeholders}} filled in.

A placeholder stands for a token, a room or the like, which is created on the running system when
it is first used. The time of the request is now.
"""

import functools
import json
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.local.client import Api
from infra.paths import ROOT
from infra.template import load

EVENTS = ROOT / "tests" / "events"
PASSWORD = "correct horse battery staple"  # noqa: S105 (a throwaway account's)
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def path_of(function: str) -> Path:
    """Return the path of a function's event. Raises KeyError for an unknown function."""
    code: str = _template()["Resources"][function]["Properties"]["CodeUri"]
    return EVENTS / f"{code.removeprefix('functions/').rstrip('/')}.json"


@functools.cache
def _template() -> dict[str, Any]:
    return load()


def fill_in(text: str, value_of: Callable[[str], str], now: float) -> dict[str, Any]:
    """Return an event with the value of each placeholder, as of `now` (epoch seconds).

    Raises ValueError if the text is not a JSON object, and what `value_of` raises.
    """
    event = json.loads(PLACEHOLDER.sub(lambda found: value_of(found[1]), text))
    if not isinstance(event, dict):
        raise ValueError("An event is a JSON object.")
    if "requestContext" in event:
        event["requestContext"]["timeEpoch"] = round(now * 1000)
    return event


class Guest:
    """A new user of the running system, whose data the placeholders stand for."""

    def __init__(self, url: str) -> None:
        """Prepare a user of the API at the URL, who signs up when a value is first needed."""
        self._api = Api(url)
        self._values: Mapping[str, Callable[[], str]] = {
            "newEmail": _email,
            "email": lambda: self._account["user"]["email"],
            "token": lambda: self._account["token"],
            "refreshToken": lambda: self._account["refreshToken"],
            "chatroomId": lambda: self._room,
            "messageId": lambda: self._prompt,
        }

    @property
    def names(self) -> set[str]:
        """The names of the placeholders."""
        return set(self._values)

    def value_of(self, name: str) -> str:
        """Return a value. Raises KeyError for an unknown name, ApiError, Unreachable."""
        return self._values[name]()

    @functools.cached_property
    def _account(self) -> dict[str, Any]:
        return self._api.sign_up(_email(), PASSWORD).data

    @functools.cached_property
    def _room(self) -> str:
        self._api.log_in(self._account["user"]["email"], PASSWORD)
        return str(self._api.open_room("Sample").data["id"])

    @functools.cached_property
    def _prompt(self) -> str:
        return str(self._api.send(self._room, "Hello").data["messageId"])


def _email() -> str:
    return f"guest-{secrets.token_hex(4)}@example.com"
