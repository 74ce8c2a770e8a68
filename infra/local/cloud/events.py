"""The sample events of tests/events, one a function: what stands in {{braces}} is filled in.

A value in braces is somebody's token, their room or the like, made on the running system when it
is first asked for; the time of the request is now.
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
IN_BRACES = re.compile(r"\{\{(\w+)\}\}")


def of(function: str) -> Path:
    """Return where a function's event is. Raises KeyError for an unknown function."""
    code: str = _template()["Resources"][function]["Properties"]["CodeUri"]
    return EVENTS / f"{code.removeprefix('functions/').rstrip('/')}.json"


@functools.cache
def _template() -> dict[str, Any]:
    return load()


def filled(text: str, value_of: Callable[[str], str], now: float) -> dict[str, Any]:
    """Return an event with each value in braces given by its name, as of `now` (epoch seconds).

    Raises ValueError for what is no JSON object, and KeyError for a name that nobody knows.
    """
    event = json.loads(IN_BRACES.sub(lambda found: value_of(found[1]), text))
    if not isinstance(event, dict):
        raise ValueError("An event is one JSON object.")
    if "requestContext" in event:
        event["requestContext"]["timeEpoch"] = round(now * 1000)
    return event


class Guest:
    """Somebody new on the running system: what the events' braces can name."""

    def __init__(self, url: str) -> None:
        """Be nobody yet; the API at the URL is asked once a value is."""
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
        """What may stand in braces."""
        return set(self._values)

    def value_of(self, name: str) -> str:
        """Return a value. Raises KeyError for an unknown name, Refused, Unreachable."""
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
