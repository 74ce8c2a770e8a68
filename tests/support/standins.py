"""Servers that run in a test's process, and clients of the stand-ins."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from aiohttp import web

from infra.local.serving import serve
from infra.local.standins.faults import BadFault
from infra.local.standins.stripe.protocol import Json


@contextmanager
def run_app(
    create: Callable[[], web.Application], port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """Serve an application from another thread while the block runs; yield the URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[web.AppRunner, str]:
        return await serve(create(), port, tls)

    async def stop() -> None:
        await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}  # responses that nobody reads
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    runner, url = asyncio.run_coroutine_threadsafe(start(), loop).result(timeout=10)
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


class StandIn:
    """A client of a stand-in, with which a test sets faults and reads received requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, trust_env=False, verify=False)  # noqa: S501 # nosec B501 (http)

    def fault(self, kind: str, **settings: Any) -> None:
        """Add one fault."""
        answer = self._http.post("/_faults", json={"kind": kind} | settings)
        if answer.status_code != 201:
            raise BadFault(answer.json()["error"])

    def requests(self) -> list[dict[str, Any]]:
        """Return the received requests, oldest first."""
        seen: list[dict[str, Any]] = self._http.get("/_requests").json()["requests"]
        return seen

    def reset(self) -> None:
        """Delete all faults and recorded requests."""
        self._http.delete("/_faults")
        self._http.delete("/_requests")


class Stripe(StandIn):
    """A client of the stand-in for Stripe: Stripe's API, and the controls for tests."""

    def __init__(self, url: str, secret_key: str) -> None:
        super().__init__(url)
        self.api = httpx.Client(base_url=url, auth=(secret_key, ""), trust_env=False, verify=False)  # noqa: S501

    def ask(self, method: str, path: str, body: Json | None = None) -> Any:
        """Call a test control and return its answer."""
        answer = self._http.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def get(self, path: str, **params: Any) -> Any:
        """Return the API's answer to a GET request for this path."""
        answer = self.api.get(path, params=params)
        answer.raise_for_status()
        return answer.json()

    def reset(self) -> None:
        """Delete faults and recorded requests, and release all held answers."""
        super().reset()
        for name in self.holds():
            self.release(name)

    def calls(self, method: str, path: str) -> list[Json]:
        """Return the API calls so far with this method and path."""
        return [
            call for call in self.requests() if call["method"] == method and call["path"] == path
        ]

    def endpoint(self, **changes: Any) -> None:
        """Change the URL and the settings for the delivery of events."""
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
        """Change a subscription; return the types of the resulting events by id, in order."""
        return self._events(self.ask("POST", f"/_subscriptions/{subscription_id}/{move}"))

    def forget_customer(self, customer_id: str) -> None:
        """Remove a customer completely, so that Stripe does not know the id afterwards."""
        self.ask("DELETE", f"/_customers/{customer_id}")

    def act(self, session_id: str, action: str, email: str = "payer@example.com") -> dict[str, str]:
        """Act on a Checkout page as a person; return the types of the resulting events by id."""
        return self._events(self.ask("POST", f"/_sessions/{session_id}/{action}", {"email": email}))

    def now(self) -> float:
        """Return the stand-in's time, in seconds since 1970."""
        now: float = self.ask("GET", "/_clock")["now"]
        return now

    def advance(self, seconds: float) -> None:
        """Advance the stand-in's time."""
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
