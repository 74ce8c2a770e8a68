"""A small client of the API, for the first conversation and the terminal chat."""

import time
from dataclasses import dataclass
from typing import Any

import httpx

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 2.0
"""The shortest and the longest pause between two polls of a prompt, in seconds."""
FINAL = ("answered", "stopped", "failed")
"""The final states of a prompt."""

Json = dict[str, Any]


class ApiError(Exception):
    """An error response of the API: its status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Exception):
    """The API cannot be reached at its URL."""


@dataclass(frozen=True)
class Answer:
    """A successful response: its status and the `data` of the envelope."""

    status: int
    data: Json


class Api:
    """The API, called by one user."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=40, trust_env=False)
        self._token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The authorization header with the access token; {} before the log-in."""
        return {"authorization": f"Bearer {self._token}"} if self._token else {}

    def sign_up(self, email: str, password: str) -> Answer:
        """Create an account and use it from now on."""
        return self._authenticate("/auth/signup", email, password)

    def log_in(self, email: str, password: str) -> Answer:
        """Log in, and use this account from now on."""
        return self._authenticate("/auth/login", email, password)

    def open_room(self, title: str) -> Answer:
        """Create a chatroom with this title."""
        return self._call("POST", "/chatroom", {"title": title})

    def send(self, room: str, content: str) -> Answer:
        return self._call("POST", f"/chatroom/{room}/message", {"content": content})

    def message(self, room: str, message: str) -> Answer:
        return self._call("GET", f"/chatroom/{room}/message/{message}")

    def stop(self, room: str, message: str) -> Answer:
        """Stop the reply to a prompt."""
        return self._call("POST", f"/chatroom/{room}/message/{message}/stop")

    def wait(self, room: str, message: str, patience: float) -> Answer:
        """Poll a prompt until its status is final. Raises TimeoutError."""
        deadline = time.monotonic() + patience
        pause = FIRST_PAUSE
        while True:
            answer = self.message(room, message)
            if answer.data["status"] in FINAL:
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"still {answer.data['status']} after {patience:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.2, LONGEST_PAUSE)

    def _authenticate(self, path: str, email: str, password: str) -> Answer:
        self._token = None
        answer = self._call("POST", path, {"email": email, "password": password})
        self._token = answer.data["token"]
        return answer

    def _call(self, method: str, path: str, body: Json | None = None) -> Answer:
        try:
            answer = self._http.request(method, path, json=body, headers=self.headers)
        except httpx.TransportError as error:
            raise Unreachable(f"{self._http.base_url} does not answer: {error}") from error
        try:
            content = answer.json()
        except ValueError:
            content = {}
        if not answer.is_success:
            message = content.get("message") or answer.reason_phrase
            raise ApiError(answer.status_code, message)
        return Answer(answer.status_code, content["data"])
