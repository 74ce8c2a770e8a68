"""A sample event for every function, with its {{placeholders}} filled in.

The route is read from the template. The OpenAPI document says whether a request needs a token.
sample_events.toml has everything else.

A placeholder stands for a value such as a token or a room's id. The running system creates the
value when it is first needed. An event of an HTTP request also gets the current time.
"""

import functools
import json
import re
import secrets
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.local.client import Api
from infra.local.cloud.http_events import Event, http_event, set_route
from infra.local.conversation import PASSWORD
from infra.paths import ROOT
from infra.template import load, routes_of

EVENTS = Path(__file__).with_suffix(".toml")
PATH_PARAMETERS = {"id": "{{chatroomId}}", "messageId": "{{messageId}}", "file": "start.js"}
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


def text_of(function: str) -> str:
    """Return a function's sample event as JSON with placeholders. Raises KeyError."""
    routes = routes_of(load()["Resources"][function]["Properties"])
    sample = tomllib.loads(EVENTS.read_text()).get(function, {})
    if not routes:
        return str(sample.get("event", "{}"))
    route = next(route for route in routes if not route.startswith("HEAD "))
    return json.dumps(_request(route, sample))


def _request(route: str, sample: Mapping[str, Any]) -> Event:
    """Return API Gateway's event for a request, with a token if the route requires one."""
    method, path = route.split(" ")
    headers = {"content-type": "application/json", **sample.get("headers", {})}
    document = json.loads((ROOT / "functions" / "docs_openapi" / "openapi.json").read_text())
    security = document["paths"][path][method.lower()].get("security", document["security"])
    if security and {} not in security:
        headers["authorization"] = "Bearer {{token}}"
    url = path.format_map(PATH_PARAMETERS) + sample.get("query", "")
    body = sample["body"].encode() if "body" in sample else None
    event = http_event(method, url, body=body, headers=headers)
    set_route(event, route)
    return event


def fill_in(text: str, value_of: Callable[[str], str], now: float) -> Event:
    """Parse an event; fill in its placeholders and the time `now` (Unix time).

    Raises ValueError if the text is not a JSON object, and the errors of `value_of`.
    """
    event = json.loads(PLACEHOLDER.sub(lambda found: value_of(found[1]), text))
    if not isinstance(event, dict):
        raise ValueError("An event must be a JSON object.")
    if "requestContext" in event:
        event["requestContext"]["timeEpoch"] = round(now * 1000)
    return event


class Guest:
    """A new user of the running system, with a value for each placeholder."""

    def __init__(self, url: str) -> None:
        """Prepare a user of the API at the URL; the user signs up when a value is first needed."""
        self._api = Api(url)
        self._values: Mapping[str, Callable[[], str]] = {
            "newEmail": _email,
            "email": lambda: self._account["user"]["email"],
            "userId": lambda: self._account["user"]["id"],
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
        """Return a placeholder's value. Raises KeyError (unknown), ApiError, Unreachable."""
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
