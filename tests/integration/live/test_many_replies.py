"""Many replies on the emulated AWS: workers that are killed, sockets that are cut, refused posts.

There are two rounds at least, and a kill in every second one.
"""

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from geminichat.domain import live
from geminichat.domain.live import Fetch, Partial, Shown
from geminichat.domain.messages import FINAL
from geminichat.tables import live as live_table
from infra.local.standins.faults import StandIn
from infra.paths import ROOT
from tests.support.lambdas import Api
from tests.support.parallel import wait_until
from tests.support.person import Person
from tests.support.sockets import Connections
from tests.support.stored import messages_in, prompts
from tests.support.template import Values

REPLIES = int(os.environ.get("LIVE_REPLIES", "10"))
ROUND = min(10, REPLIES // 2)
"""Prompts at a time: a batch of the queue."""
PIECES, PAUSE = 20, 0.1
WITHOUT_FRAME = 5.0
"""Seconds after which a reader fetches."""
DONE = {
    "candidates": [{"finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 60},
}

LONGEST = 100.0
"""Seconds until a prompt must have ended."""


class Reader:
    """A reader by the documented rule; its socket may be cut once."""

    def __init__(self, person: Person, api: Connections) -> None:
        self.person, self._api = person, api
        self.room = person.open_room()
        self.connection = secrets.token_urlsafe(10) + "="
        self.cut_after = random.randrange(1, 6) if random.random() < 0.5 else None
        self.shown = Shown()
        self.reply: dict[str, Any] | None = None
        live_table.open_connection(
            person.id, self.connection, person.session_id, secrets.token_hex(8), datetime.now(UTC)
        )
        self.expected = "".join(f"{self.connection[:4]} {number} 😀 " for number in range(PIECES))
        self.message = ""

    def send(self, google: StandIn) -> None:
        """Send a prompt to which Gemini replies piece by piece, as often as it is asked."""
        texts = [f"{self.connection[:4]} {number} 😀 " for number in range(PIECES)]
        events = [{"candidates": [{"content": {"parts": [{"text": text}]}}]} for text in texts]
        google.fault("answer", events=[*events, DONE], pause=PAUSE, match=self.room, times="always")
        self.message = self.person.ask(self.room, f"Tell me ({self.room})")

    def list_requests(self, google: StandIn) -> list[Any]:
        """Return the requests for this reply that Gemini received."""
        return [one for one in google.requests() if self.room in str(one["contents"][-1])]

    def watch(self) -> str:
        """Read frames until the prompt has ended, and return what is shown then."""
        self._fetch(0)
        position = 0
        last = began = time.monotonic()
        while self.reply is None:
            assert time.monotonic() - began < LONGEST, "the prompt has not ended"
            frames = self._api.frames(self.connection)
            if position == len(frames):
                if time.monotonic() - last > WITHOUT_FRAME:
                    last = time.monotonic()
                    self._fetch(live.utf16_length(self.shown.text))
                time.sleep(0.02)
                continue
            if position == self.cut_after:
                time.sleep(0.7)
                position, self.cut_after = len(self._api.frames(self.connection)), None
                self._fetch(live.utf16_length(self.shown.text))
                continue
            last = time.monotonic()
            self._take(live.read(self.shown, frames[position]))
            position += 1
        return str(self.reply["content"])

    def _take(self, seen: Shown | Fetch) -> None:
        if isinstance(seen, Fetch):
            self._fetch(seen.start)
            return
        assert seen.attempt >= self.shown.attempt
        assert self.expected.startswith(seen.text)
        self.shown = seen

    def _fetch(self, start: int) -> None:
        url = f"/chatroom/{self.room}/message/{self.message}?from={start}"
        found = self.person.get(url).data
        if found["status"] in FINAL:
            self.reply = found["reply"]
        elif partial := found.get("partial"):
            self._take(
                live.read(
                    self.shown,
                    Partial(
                        attempt=partial["attempt"], start=partial["from"], text=partial["text"]
                    ),
                )
            )


@contextmanager
def worker_process(values: Values) -> Iterator[subprocess.Popen[bytes]]:
    """Run the poller and its worker in a process of its own, which can be killed."""
    code = (
        "import sys; from tests.support.lambdas import Poller\n"
        "poller = Poller([sys.argv[1]], 'GeminiWorker')\n"
        "while True: poller.poll(wait=1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, values.refs["PromptsQueue"]],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'layers' / 'core'}:{ROOT}"},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def play(readers: list[Reader], google: StandIn, values: Values, *, kill: bool) -> float:
    """Send the prompts and check what is shown; return the seconds from a kill until it goes on."""
    pause = 0.0
    with worker_process(values) as first, ThreadPoolExecutor(ROUND) as pool:
        for reader in readers:
            reader.send(google)
        watching = [pool.submit(reader.watch) for reader in readers]
        if kill:
            wait_until(
                lambda: all(one.list_requests(google) for one in readers), seconds=30, every=0.05
            )
            time.sleep(random.random() * PIECES * PAUSE)
            first.send_signal(signal.SIGKILL)
            killed, asked = time.monotonic(), len(google.requests())
            with worker_process(values):
                wait_until(lambda: len(google.requests()) > asked, seconds=LONGEST, every=0.05)
                pause = time.monotonic() - killed
                shown = [one.result() for one in watching]
        else:
            shown = [one.result() for one in watching]
    assert shown == [reader.expected.rstrip() for reader in readers]
    return pause


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_every_reader_shows_the_whole_reply_whatever_breaks(
    api: Api, google: StandIn, connections: Connections, values: Values
) -> None:
    connections.refused = 0.3
    slowest = 0.0
    for number in range(REPLIES // ROUND):
        readers = [Reader(Person(api), connections) for _ in range(ROUND)]
        slowest = max(slowest, play(readers, google, values, kill=bool(number % 2)))
        for reader in readers:
            assert [message.sender for message in messages_in(reader.room)] == ["user", "ai"]
            [prompt] = prompts(reader.room)
            assert len(reader.list_requests(google)) == int(prompt.attempt)
    print(f"{REPLIES} replies; after a kill Gemini was asked again within {slowest:.1f} s")
    assert slowest < 30
