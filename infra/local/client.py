"""A small client of the API: what the walked conversation and the terminal chat are made of."""

import time
from dataclasses import dataclass
from typing import Any

import httpx

POLL_EVERY = 0.25
"""Seconds between two looks at a prompt, at first; later looks are further apart."""
POLL_AT_MOST = 2.0

Json = dict[str, Any]


class Refused(Exception):
    """The API said no: its status and its words for a person."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Exception):
    """Nothing answers at the API's address."""


@dataclass(frozen=True)
class Answer:
    """A 2xx: the status and the `data` of the envelope."""

    status: int
    data: Json


class Api:
    """The API as one user sees it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=40, trust_env=False)
        self._token: str | None = None

    @property
    def token(self) -> str:
        """The access token of who this is, empty for nobody."""
        return self._token or ""

    @property
    def headers(self) -> dict[str, str]:
        """What a request of this user carries."""
        return {"authorization": f"Bearer {self._token}"} if self._token else {}

    def sign_up(self, email: str, password: str) -> Answer:
        """Make an account, and be it from now on."""
        return self._enter("/auth/signup", email, password)

    def log_in(self, email: str, password: str) -> Answer:
        """Be this account from now on."""
        return self._enter("/auth/login", email, password)

    def open_room(self, title: str) -> Answer:
        """Make a chatroom."""
        return self._ask("POST", "/chatroom", {"title": title})

    def send(self, room: str, content: str) -> Answer:
        """Send a prompt."""
        return self._ask("POST", f"/chatroom/{room}/message", {"content": content})

    def message(self, room: str, message: str) -> Answer:
        """Look at a message."""
        return self._ask("GET", f"/chatroom/{room}/message/{message}")

    def messages(self, room: str) -> Answer:
        """Look at a room's first messages, a hundred at most."""
        return self._ask("GET", f"/chatroom/{room}/message?limit=100")

    def me(self) -> Answer:
        """Look at the account."""
        return self._ask("GET", "/auth/me")

    def wait(self, room: str, message: str, patience: float) -> Answer:
        """Look at a prompt until it is answered or failed. Raises TimeoutError."""
        deadline = time.monotonic() + patience
        pause = POLL_EVERY
        while True:
            answer = self.message(room, message)
            if answer.data["status"] in ("answered", "failed"):
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"still {answer.data['status']} after {patience:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.2, POLL_AT_MOST)

    def _enter(self, path: str, email: str, password: str) -> Answer:
        self._token = None
        answer = self._ask("POST", path, {"email": email, "password": password})
        self._token = answer.data["token"]
        return answer

    def _ask(self, method: str, path: str, body: Json | None = None) -> Answer:
        try:
            answer = self._http.request(method, path, json=body, headers=self.headers)
        except httpx.TransportError as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error}") from error
        try:
            said = answer.json()
        except ValueError:
            said = {}
        if not answer.is_success:
            message = said.get("message") or answer.reason_phrase
            raise Refused(answer.status_code, message)
        return Answer(answer.status_code, said["data"])
