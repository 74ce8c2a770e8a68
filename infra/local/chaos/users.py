"""The users of a chaos run: they sign up, chat, pay and cancel, and record the answers."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from infra.local.client import FINAL

PATIENCE = 40.0
"""Seconds after which a user stops repeating an unanswered request."""
Json = dict[str, Any]


@dataclass
class Prompt:
    """A prompt of a user, with the last status that the user saw."""

    room: str
    content: str
    """A text that is unique in the run."""
    id: str = ""
    """The message's id; empty until the prompt is accepted."""
    status: str = "sent"
    """`sent`, `refused`, `unknown` (no answer), or a status from the API."""

    @property
    def is_under_way(self) -> bool:
        """Whether the prompt was accepted and, as far as the user knows, has not ended."""
        return bool(self.id) and self.status not in FINAL


@dataclass
class World:
    """The state of a run that all its users share."""

    api: httpx.AsyncClient
    stripe: httpx.AsyncClient
    run: str
    """The run's id, a part of every user's email address."""
    until: float
    """The time on the monotonic clock after which no user begins an action."""
    longest_pause: float = 2.0
    """The longest pause between two actions of a user, in seconds."""
    people: "list[User]" = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class User:
    """One user; a random generator chooses the actions."""

    def __init__(self, world: World, email: str, generator: random.Random) -> None:
        self.email = email
        self.id = ""
        self.rooms: list[str] = []
        self.prompts: list[Prompt] = []
        self.problems: list[str] = []
        """Descriptions of answers that the API should never give."""
        self.subscription = ""
        """The id of the newest subscription at Stripe."""
        self._world = world
        self._generator = generator
        self._tokens: Json = {}

    async def act(self) -> None:
        """Sign up, create rooms, and take a random number of actions."""
        choose = self._generator
        pays, rooms, actions = choose.random() < 0.6, choose.randint(1, 3), choose.randint(4, 14)
        plan = [choose.choices(ACTIONS, WEIGHTS)[0] for _ in range(actions)]
        if not await self._sign_up():
            return
        self._world.people.append(self)
        for _ in range(rooms):
            if opened := await self._data("POST", "/chatroom", {}):
                self.rooms.append(opened["id"])
        begin: list[Action] = [User.send, User.subscribe] if pays else [User.send]
        for action in [*begin, *plan]:
            pause, seed = choose.uniform(0, self._world.longest_pause), choose.random()
            await asyncio.sleep(pause)
            if time.monotonic() > self._world.until or not self.rooms:
                return
            await action(self, random.Random(seed))
            await self.poll()

    async def send(self, choose: random.Random) -> None:
        """Send prompts to some rooms at the same time."""
        rooms = choose.sample(self.rooms, choose.randint(1, len(self.rooms)))
        await asyncio.gather(
            *(self._prompt("POST", f"/chatroom/{room}/message", room) for room in rooms)
        )

    async def stop(self, choose: random.Random) -> None:
        """Stop a prompt that has not ended."""
        if under_way := [one for one in self.prompts if one.is_under_way]:
            one = choose.choice(under_way)
            await self.request("POST", f"/chatroom/{one.room}/message/{one.id}/stop")

    async def edit(self, choose: random.Random) -> None:
        """Edit an accepted prompt: send another text in its place."""
        if accepted := [one for one in self.prompts if one.id]:
            one = choose.choice(accepted)
            await self._prompt("PATCH", f"/chatroom/{one.room}/message/{one.id}", one.room)

    async def read(self, choose: random.Random) -> None:
        """Read the list of rooms, a room and the account; report usage above the quota."""
        await self.request("GET", "/chatroom")
        await self.request("GET", f"/chatroom/{choose.choice(self.rooms)}")
        me = await self._data("GET", "/auth/me")
        if (
            me
            and me["plan"] == "basic"
            and me["usage"]["used"] > BASIC_PROMPTS
            and not self.has_paid
        ):
            self.problems.append(f"used {me['usage']['used']} of {BASIC_PROMPTS} prompts")

    async def subscribe(self, _choose: random.Random) -> None:
        """Buy the pro plan on Stripe's page."""
        page = await self._data("POST", "/subscribe/pro")
        if page:
            with contextlib.suppress(httpx.HTTPError, KeyError):
                await self._world.stripe.post(
                    f"/_sessions/{page['sessionId']}/pay", json={"email": self.email}
                )
                paid = await self._world.stripe.get(f"/v1/checkout/sessions/{page['sessionId']}")
                self.subscription = paid.json()["subscription"] or self.subscription

    async def cancel(self, choose: random.Random) -> None:
        """Cancel or resume the subscription through the API, or end the subscription at Stripe."""
        path = choose.choice(["/subscription/cancel", "/subscription/resume", "at Stripe"])
        if path != "at Stripe":
            await self.request("POST", path)
        elif self.subscription:
            with contextlib.suppress(httpx.HTTPError):
                await self._world.stripe.post(f"/_subscriptions/{self.subscription}/cancel")

    async def poll(self) -> None:
        """Poll every prompt that has not ended, and store its status."""
        for one in [one for one in self.prompts if one.is_under_way]:
            if found := await self._data("GET", f"/chatroom/{one.room}/message/{one.id}"):
                one.status = found["status"]

    @property
    def has_paid(self) -> bool:
        """Whether the user ever had the pro plan, which has no daily limit."""
        return bool(self.subscription)

    async def request(
        self, method: str, path: str, body: Json | None = None, key: str = ""
    ) -> tuple[httpx.Response | None, bool]:
        """Send a request until it is answered.

        Return the answer, or None after PATIENCE, and whether the request was repeated.
        """
        counts = self._world.counts
        counts["requests"] += 1
        deadline = time.monotonic() + PATIENCE
        repeated, pause = False, 0.2
        while time.monotonic() < deadline:
            headers = {"idempotency-key": key} if key else {}
            if token := self._tokens.get("token"):
                headers["authorization"] = f"Bearer {token}"
            try:
                answer = await self._world.api.request(method, path, json=body, headers=headers)
            except httpx.HTTPError:
                counts["without an answer"] += 1
            else:
                if answer.status_code == 401 and token and await self._refresh():
                    continue
                if answer.status_code < 500 and _code(answer) != "key-in-use":
                    return answer, repeated
                counts["answered 5xx"] += answer.status_code >= 500
            repeated = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, 3)
        counts["given up"] += 1
        return None, True

    async def _data(self, method: str, path: str, body: Json | None = None) -> Json | None:
        """Return the data of a successful answer, or None for any other answer."""
        answer, _ = await self.request(method, path, body)
        if answer is None or not answer.is_success:
            return None
        data: Json = answer.json()["data"]
        return data

    async def _sign_up(self) -> bool:
        asked = await self._data("POST", "/auth/send-otp", {"email": self.email})
        if asked:
            proof = {name: asked[name] for name in ("otp", "challenge")}
            tokens = await self._data("POST", "/auth/verify-otp", {"email": self.email, **proof})
            if tokens:
                self._tokens, self.id = tokens, tokens["user"]["id"]
        return bool(self.id)

    async def _refresh(self) -> bool:
        body = {"refreshToken": self._tokens.pop("refreshToken", "")}
        tokens = await self._data("POST", "/auth/refresh", body) if body["refreshToken"] else None
        self._tokens = tokens or {}
        return bool(tokens)

    async def _prompt(self, method: str, path: str, room: str) -> None:
        """Send a prompt with a new text, and record the outcome."""
        content = f"{self.email.partition('@')[0]} {len(self.prompts)}"
        prompt = Prompt(room, content)
        self.prompts.append(prompt)
        answer, repeated = await self.request(
            method, path, {"content": content}, key=content.replace(" ", "-")
        )
        if answer is not None and answer.status_code == 202:
            prompt.id, prompt.status = answer.json()["data"]["messageId"], "queued"
        elif answer is not None and not repeated:
            prompt.status = "refused"
            self._world.counts[f"refused: {_code(answer)}"] += 1
        else:
            prompt.status = "unknown"


type Action = Callable[[User, random.Random], Awaitable[None]]

BASIC_PROMPTS = 5
ACTIONS: list[Action] = [User.send, User.stop, User.edit, User.read, User.subscribe, User.cancel]
WEIGHTS = [12, 3, 3, 3, 1, 2]


def _code(answer: httpx.Response) -> str:
    """Return the code of an error response, or its status if there is no code."""
    with contextlib.suppress(ValueError, AttributeError):
        return str(answer.json().get("type") or answer.status_code).rpartition(":")[2]
    return str(answer.status_code)


async def run_users(world: World, seed: int, at_a_time: int) -> None:
    """Run this many users at a time; a new user replaces a finished user until the run ends."""

    async def lane(number: int) -> None:
        generator = random.Random(f"{seed} users {number}")
        user = 0
        while time.monotonic() < world.until:
            user += 1
            email = f"chaos-{world.run}-{number}-{user}@example.com"
            await User(world, email, random.Random(generator.random())).act()
            await asyncio.sleep(0.1)

    await asyncio.gather(*(lane(number) for number in range(at_a_time)))
