"""The API as a client sees it: requests and replies, over HTTP or in process."""

import json as json_
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import httpx


@dataclass(frozen=True)
class Reply:
    """An HTTP response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The parsed JSON body."""
        return json_.loads(self.text)

    @property
    def data(self) -> Any:
        """The member `data` of a successful response."""
        return self.json["data"]


class Request(NamedTuple):
    """A request; only the API in process accepts `at` (a time) and `source` (an IP address)."""

    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    at: datetime | None
    source: str | None


class Client(ABC):
    """A client of the API, over HTTP or in process."""

    aws_url: str | None = None
    """The URL of the emulated AWS; None if the environment names it."""

    def get(self, url: str, **more: Any) -> Reply:
        """Send a GET; see `request`."""
        return self.request("GET", url, **more)

    def post(self, url: str, json: Any = None, **more: Any) -> Reply:
        """Send a POST; see `request`."""
        return self.request("POST", url, json=json, **more)

    def patch(self, url: str, json: Any = None, **more: Any) -> Reply:
        """Send a PATCH; see `request`."""
        return self.request("PATCH", url, json=json, **more)

    def delete(self, url: str, **more: Any) -> Reply:
        """Send a DELETE; see `request`."""
        return self.request("DELETE", url, **more)

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        at: datetime | None = None,
        source: str | None = None,
    ) -> Reply:
        """Send a request with a JSON or a raw body."""
        raw = body if json is None else json_.dumps(json).encode()
        sent = {} if raw is None else {"content-type": "application/json"}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        return self._send(Request(method, url, raw, sent, at, source))

    @abstractmethod
    def _send(self, request: Request) -> Reply: ...


class HttpApi(Client):
    """A deployed API, called over HTTP."""

    def __init__(self, url: str, aws_url: str | None = None) -> None:
        self.aws_url = aws_url
        self._http = httpx.Client(base_url=url, timeout=40, trust_env=False)

    def _send(self, request: Request) -> Reply:
        method, url, body, headers, at, source = request
        assert (at, source) == (None, None), "only the API in process accepts `at` and `source`"
        answer = self._http.request(method, url, content=body, headers=headers)
        return Reply(answer.status_code, answer.headers, answer.text)
