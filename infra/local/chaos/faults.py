"""The faults of a chaos run, drawn from a deck of cards that a seed shuffles."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Any, NamedTuple

import httpx

from infra.local.chaos import processes
from infra.running import Stack

GAP = 4.0
"""Seconds between two faults; fewer in a run that is too short for the whole deck."""
RESTARTED_WITHIN = 60.0
"""The longest wait, in seconds, until the emulated AWS answers after a kill."""
DRIP = ("A reply ", "that drips.")
"""The texts that Gemini streams one by one as a slow reply."""

Json = dict[str, Any]
type Card = Callable[[random.Random], Awaitable[object]]


class Urls(NamedTuple):
    """The URLs to which faults are posted."""

    aws: str
    gemini: str
    stripe: str


class Faults:
    """The faults of a stack, and how often each fault happened."""

    def __init__(
        self,
        stack: Stack,
        urls: Urls,
        http: httpx.AsyncClient,
        generator: random.Random,
        gap: float = GAP,
        spared: Collection[str] = (),
    ) -> None:
        self.happened: Counter[str] = Counter()
        self.latest = ""
        self._stack = stack
        self._http = http
        self._choose = generator
        self._urls = urls
        self._gap = gap
        cards: list[tuple[str, Card]] = [
            ("Valkey killed", self._kill(processes.kill_valkey)),
            ("AWS killed", self._kill(processes.kill_emulated_aws)),
            ("worker killed", self._kill_function("GeminiWorker")),
            ("sender killed", self._kill_function("ChatroomSendMessage")),
            ("Gemini 503", self._post(urls.gemini, kind="error", status=503)),
            ("Gemini 429", self._post(urls.gemini, kind="error", status=429, retryDelay="2s")),
            ("Gemini stalls", self._post(urls.gemini, kind="stall", seconds=25)),
            ("Gemini drips", self._post(urls.gemini, kind="answer", events=_drip(), pause=1.5)),
            ("Gemini drops", self._post(urls.gemini, kind="drop")),
            ("tables conflict", self._post(urls.aws, kind="conflict", match="dynamodb.Transact")),
            ("tables throttle", self._post(urls.aws, kind="throttled", match="dynamodb.")),
            ("tables fail", self._post(urls.aws, kind="failing", match="dynamodb.")),
            (
                "writes without answer",
                self._post(urls.aws, kind="lost", match="dynamodb.Transact"),
            ),
            ("updates without answer", self._post(urls.aws, kind="lost", match="dynamodb.Update")),
            ("queue loses", self._post(urls.aws, kind="swallow", match="sqs.SendMessage")),
            ("queue doubles", self._post(urls.aws, kind="double", match="sqs.SendMessage")),
            ("Stripe fails", self._post(urls.stripe, kind="error", status=500, done=True)),
            ("events lost", self._lose_events),
            ("events doubled", self._double_events),
        ]
        self._cards = [card for card in cards if card[0] not in spared]

    async def run(self, until: float) -> None:
        """Cause every fault in random order, and start again, until `until` (monotonic time)."""
        due = time.monotonic()
        gap = min(self._gap, (until - due) / (len(self._cards) + 1))
        while True:
            deck = self._choose.sample(self._cards, len(self._cards))
            for name, card in deck:
                due += gap
                await asyncio.sleep(max(0, due - time.monotonic()))
                if time.monotonic() > until:
                    return
                self.latest = name
                choose = random.Random(self._choose.random())
                with contextlib.suppress(httpx.HTTPError):  # AWS is restarting
                    await card(choose)
                    self.happened[name] += 1

    async def end(self) -> None:
        """Wait until AWS runs, and remove every fault that has not happened yet."""
        deadline = time.monotonic() + RESTARTED_WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if (await self._http.get(f"{self._urls.aws}/_ministack/ready")).is_success:
                    break
            await asyncio.sleep(0.2)
        for url in self._urls:
            await self._http.delete(f"{url}/_faults")
        await self._http.patch(f"{self._urls.stripe}/_endpoint", json={"held": False})

    def _post(self, url: str, **fault: Any) -> Card:
        async def post(choose: random.Random) -> None:
            body = fault | {"times": choose.randint(1, 4)}
            (await self._http.post(f"{url}/_faults", json=body)).raise_for_status()

        return post

    def _kill(self, kill: Callable[[Stack], bool]) -> Card:
        return lambda _: asyncio.to_thread(kill, self._stack)

    def _kill_function(self, logical_id: str) -> Card:
        return lambda _: asyncio.to_thread(processes.kill_function, self._stack, logical_id)

    async def _lose_events(self, _choose: random.Random) -> None:
        """Lose every event that Stripe creates within one second."""
        await self._http.patch(f"{self._urls.stripe}/_endpoint", json={"held": True})
        await asyncio.sleep(1)
        await self._http.patch(f"{self._urls.stripe}/_endpoint", json={"held": False})

    async def _double_events(self, choose: random.Random) -> None:
        """Deliver some of the latest Stripe events again, in a different order."""
        events = (await self._http.get(f"{self._urls.stripe}/_events")).json()["events"][-8:]
        for sent in choose.sample(events, min(4, len(events))):
            signed = await self._http.get(
                f"{self._urls.stripe}/_events/{sent['event']['id']}/signed"
            )
            headers = {
                "content-type": "application/json",
                "stripe-signature": signed.json()["signature"],
            }
            url = f"{self._stack.api_url}/webhook/stripe"
            await self._http.post(url, content=signed.json()["body"], headers=headers)


def _drip() -> list[Json]:
    """Return the events that Gemini streams for a slow reply."""
    events: list[Json] = [
        {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]}
        for text in DRIP
    ]
    events[-1]["candidates"][0]["finishReason"] = "STOP"
    events[-1]["usageMetadata"] = {"promptTokenCount": 4, "candidatesTokenCount": 5}
    return events
