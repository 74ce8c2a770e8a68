"""A client of the stand-in for tests: the test controls in addition to Stripe's API."""

from typing import Any

import httpx

from infra.local.standins.faults import StandIn
from infra.local.standins.stripe.protocol import Json


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
        """Call a test control and return its answer."""
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def get(self, path: str, **params: Any) -> Any:
        """Return the API's answer."""
        answer = self._api.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def reset(self) -> None:
        """Delete faults and recorded requests, and release all held answers."""
        super().reset()
        for name in self.holds():
            self.release(name)

    def calls(self, method: str, path: str) -> list[Json]:
        """Return the API calls with this method and path so far."""
        return [
            call for call in self.requests() if call["method"] == method and call["path"] == path
        ]

    def endpoint(self, **changes: Any) -> None:
        """Change where and how events are delivered."""
        self.ask("PATCH", "/_endpoint", changes)

    def events(self) -> list[Json]:
        """Return every event with its answers, oldest first."""
        found: list[Json] = self.ask("GET", "/_events")["events"]
        return found

    def sign(self, event_id: str) -> tuple[str, str]:
        """Return an event's body and its signature at this moment."""
        signed = self.ask("GET", f"/_events/{event_id}/signed")
        return signed["body"], signed["signature"]

    def move(self, subscription_id: str, move: str) -> dict[str, str]:
        """Change a subscription, and return the events of the change in order: types by id."""
        return self._events(self.ask("POST", f"/_subscriptions/{subscription_id}/{move}"))

    def forget_customer(self, customer_id: str) -> None:
        """Remove a customer, as if the account never had it."""
        self.ask("DELETE", f"/_customers/{customer_id}")

    def act(self, session_id: str, action: str, email: str = "payer@example.com") -> dict[str, str]:
        """Act on a Checkout page as a person, and return the events of the change: types by id."""
        return self._events(self.ask("POST", f"/_sessions/{session_id}/{action}", {"email": email}))

    def now(self) -> float:
        """Return the stand-in's time, in seconds since 1970."""
        now: float = self.ask("GET", "/_clock")["now"]
        return now

    def advance(self, seconds: float) -> None:
        """Move the stand-in's time ahead."""
        self.ask("POST", "/_clock", {"advance": seconds})

    def holds(self) -> list[str]:
        """Return the names of the held answers."""
        names: list[str] = self.ask("GET", "/_holds")["holds"]
        return names

    def release(self, name: str) -> None:
        """Release a held answer."""
        self.ask("DELETE", f"/_holds/{name}")

    @staticmethod
    def _events(answer: Json) -> dict[str, str]:
        return {event["id"]: event["type"] for event in answer["events"]}
