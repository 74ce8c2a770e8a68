"""Many live replies on the deployed stack while workers are killed and connections fail.

LIVE_REPLIES sets the number of replies; 200 take about ten minutes.
"""

import asyncio
import os
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest

from functions.docs_asset import live_reader
from infra.local.chaos.processes import kill_function
from tests.support.deployed import RunningStack
from tests.support.gemini_events import whole
from tests.support.parallel import wait_until

REPLIES = int(os.environ.get("LIVE_REPLIES", "20"))
ROUND = 10
"""Prompts that are sent at once: as many as a batch of the queue."""
PIECES, PAUSE = 20, 0.15
LONGEST = 100.0
"""Seconds within which a prompt must end."""
REFUSALS: list[Any] = [
    *({"kind": "refuse", "status": status} for status in (410, 429, 500)),
    {"kind": "silent"},
]


class LivePrompt:
    """A prompt, and the part of its reply that a reader shows so far."""

    def __init__(self, stack: RunningStack) -> None:
        self.person = stack.new_proven_user()
        self.room = self.person.open_room("Many replies")
        texts = [f"{self.room[2:6]} {number} 😀 " for number in range(PIECES)]
        self.expected = "".join(texts).strip()
        self._events = whole(texts)
        self.message = ""
        self.shown: list[str] = []

    def send(self, stack: RunningStack) -> None:
        """Send the prompt. 30 % of the posts fail, and the socket is cut with a chance of 50 %."""
        stack.gemini.fault(
            "answer", events=self._events, pause=PAUSE, match=self.room, times="always"
        )
        self.message = self.person.ask(self.room, f"Tell me ({self.room})")
        failing = [place for place in range(100) if random.random() < 0.3]
        for others, place in enumerate(failing):
            stack.front.fault(**random.choice(REFUSALS), match=self.message, after=place - others)
        if random.random() < 0.5:
            stack.front.fault("cut", match=self.message, after=random.randrange(6))

    async def watch(self, stack: RunningStack) -> dict[str, Any]:
        """Show the reply with the documented reader; return the prompt when the reply has ended."""
        async with aiohttp.ClientSession(stack.url, headers=self.person.headers) as http:
            watching = live_reader.watch(http, self.room, self.message, self.shown.append)
            return await asyncio.wait_for(watching, LONGEST)

    def list_request_times(self, stack: RunningStack) -> list[float]:
        """Return the times of the requests to Gemini for this reply, in seconds since the epoch."""
        return [
            float(request["time"])
            for request in stack.gemini.requests()
            if self.room in str(request["contents"][-1])
        ]

    def count_attempts(self, stack: RunningStack) -> int:
        """Return the number of attempts in the prompt's item."""
        key = {"chatroom_id": {"S": self.room}, "seq": {"N": "1"}}
        table = stack.description.tables["MessagesTable"]
        item = stack.aws("dynamodb").get_item(TableName=table, Key=key)["Item"]
        return int(item["attempt"]["N"])


def answer_while_failing(
    stack: RunningStack, watched: list[LivePrompt], *, kill: bool
) -> list[float]:
    """Send the prompts and check the replies; return the seconds from a kill to each retry.

    The worker is killed while it answers, but only with `kill`; the list is empty without it.
    """

    async def watch() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(one.watch(stack) for one in watched)))

    killed = 0.0
    with ThreadPoolExecutor(ROUND) as pool:
        list(pool.map(lambda one: one.send(stack), watched))
        watching = pool.submit(asyncio.run, watch())
        if kill:
            wait_until(
                lambda: all(one.list_request_times(stack) for one in watched), seconds=60, every=0.1
            )
            time.sleep(random.uniform(0, PIECES * PAUSE - 0.5))
            assert kill_function(stack.description, "GeminiWorker")
            killed = time.time()
        ended = watching.result()

    pauses: list[float] = []
    for one, prompt in zip(watched, ended, strict=True):
        assert prompt["reply"]["content"] == one.expected
        assert all(one.expected.startswith(text.strip()) for text in one.shown)
        assert [message["sender"] for message in one.person.page(one.room)] == ["user", "ai"]
        asked = one.list_request_times(stack)
        assert len(asked) == one.count_attempts(stack) <= 1 + kill
        pauses += [again - killed for again in asked[1:]]
    return pauses


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_reader_shows_the_whole_reply_despite_kills_and_lost_connections(
    stack: RunningStack,
) -> None:
    pauses: list[float] = []
    posts = refused = 0
    for sent in range(0, REPLIES, ROUND):
        stack.gemini.reset()
        stack.front.reset()
        with ThreadPoolExecutor(ROUND) as pool:
            watched = list(pool.map(lambda _: LivePrompt(stack), range(ROUND)))
        pauses += answer_while_failing(stack, watched, kill=len(pauses) <= sent / 2)
        answers = [entry["status"] for entry in stack.front.requests() if entry["method"] == "POST"]
        posts, refused = posts + len(answers), refused + sum(one != 200 for one in answers)
        print(
            f"{sent + ROUND} replies, {len(pauses)} interrupted by a kill. Gemini was asked again "
            f"after {statistics.median(pauses):.1f} s (median) and {max(pauses):.1f} s at most. "
            f"{refused} of {posts} posts failed."
        )
    assert max(pauses) < 30
