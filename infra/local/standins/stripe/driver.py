"""The stand-in as a test sees it: what it may ask beyond Stripe's own API."""

from typing import Any

import httpx

from infra.local.standins.faults import StandIn
from infra.local.standins.stripe.wire import Json


class Stripe(StandIn):
    """A running stand-in."""

    def __init__(self, url: str, secret_key: str) -> None:
        super().__init__(url)
        self.secret_key = secret_key
        self._api = httpx.Client(
            base_url=url,
            auth=(secret_key, ""),
            trust_env=False,
            verify=False,  # noqa: S501 # nosec B501 (http)
        )

    def ask(self, method: str, path: str, body: Json | None = None) -> Any:
        """Ask something of the stand-in itself and return its answer."""
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def get(self, path: str, **params: Any) -> Any:
        """Return what the API says."""
        answer = self._api.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def reset(self) -> None:
        """Forget faults and requests, and let go of what is held."""
        super().reset()
        for name in self.holds():
            self.let_go(name)

    def calls(self, method: str, path: str) -> list[Json]:
        """Return the calls of the API with this method and path so far."""
        return [
            call for call in self.requests() if call["method"] == method and call["path"] == path
        ]

    def endpoint(self, **changes: Any) -> Json:
        """Change where and how events are delivered."""
        changed: Json = self.ask("PATCH", "/_endpoint", changes)
        return changed

    def events(self) -> list[Json]:
        """Return every event with its answers, oldest first."""
        found: list[Json] = self.ask("GET", "/_events")["events"]
        return found

    def signed(self, event_id: str) -> tuple[str, str]:
        """Return an event's body and its signature of this moment."""
        letter = self.ask("GET", f"/_events/{event_id}/signed")
        return letter["body"], letter["signature"]

    def deliver(self, event_id: str) -> int:
        """Deliver an event once and return the status that was answered."""
        status: int = self.ask("POST", f"/_events/{event_id}/deliver")["answer"]
        return status

    def move(self, subscription_id: str, move: str) -> dict[str, str]:
        """Turn a subscription's life and return the events of it, in order: types by id."""
        return self._made(self.ask("POST", f"/_subscriptions/{subscription_id}/{move}"))

    def turn(self, session_id: str, turn: str, email: str = "payer@example.com") -> dict[str, str]:
        """Do on a checkout page what a person would and return the events of it, as `move`."""
        return self._made(self.ask("POST", f"/_sessions/{session_id}/{turn}", {"email": email}))

    def now(self) -> float:
        """Return the stand-in's time, in seconds since 1970."""
        now: float = self.ask("GET", "/_clock")["now"]
        return now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.ask("POST", "/_clock", {"advance": seconds})

    def holds(self) -> list[str]:
        """Return the names of the answers that are held back."""
        names: list[str] = self.ask("GET", "/_holds")["holds"]
        return names

    def let_go(self, name: str) -> None:
        """Let an answer go."""
        self.ask("DELETE", f"/_holds/{name}")

    @staticmethod
    def _made(answer: Json) -> dict[str, str]:
        return {event["id"]: event["type"] for event in answer["events"]}
