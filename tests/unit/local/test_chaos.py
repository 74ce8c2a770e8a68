"""`make chaos`: the audit finds each kind of problem, and a seed repeats a run."""

import asyncio
import contextlib
import math
import random
from collections.abc import Mapping
from typing import Any, cast

import httpx
import msgspec
import pytest

from infra import running
from infra.command import CommandError
from infra.local.chaos import audit
from infra.local.chaos.faults import Faults, Urls
from infra.local.chaos.run import chaos
from infra.local.chaos.users import Prompt, User, World, run_users
from tests.support.descriptions import DESCRIPTION

DAY = "2026-11-25"
PROMPT = {
    "seq": 1,
    "sender": "user",
    "content": "a 0",
    "status": "answered",
    "created_at": f"{DAY}T10:00:00.000Z",
    "counted_on": DAY,
}
REPLY = {"seq": 2, "sender": "ai", "content": "You said: a 0 (turn 1)"}
USAGE = {"day": DAY, "prompts": 1, "in_flight": 0, "reserved": 0}


class Stored:
    """The tables with one user and one room, as the audit reads them."""

    def __init__(self, messages: list[Any], usage: Mapping[str, Any]) -> None:
        self._messages, self._usage = messages, usage

    def messages(self, _user: User) -> Any:
        return {"r_1": self._messages}

    def query(self, *_key: str) -> Any:
        return [self._usage]


def problems(
    *messages: Mapping[str, Any],
    usage: Mapping[str, Any] = USAGE,
    sent: list[Prompt] | None = None,
) -> list[str]:
    user = User(cast(World, None), "a@example.com", random.Random(1))
    user.prompts = sent or [Prompt("r_1", "a 0", "m_1_1", "answered")]
    return list(audit.problems_of(user, cast(audit.Tables, Stored(list(messages), usage))))


def test_the_audit_finds_no_problem_in_a_correct_room() -> None:
    assert problems(PROMPT, REPLY) == []
    refunded = {**PROMPT, "status": "failed", "error_code": "gemini-unavailable"}
    assert problems(refunded, usage={**USAGE, "prompts": 0}) == []
    stopped = {**PROMPT, "status": "stopped", "counted_on": None}
    assert problems(stopped, usage={**USAGE, "prompts": 0}) == []
    assert problems({**PROMPT, "status": "stopped"}, {**REPLY, "content": "You sa"}) == []
    unknown = [Prompt("r_1", "a 0", "", "unknown")]
    assert problems(PROMPT, REPLY, sent=unknown) == []
    assert problems(sent=unknown, usage={**USAGE, "prompts": 0}) == []


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (problems(), "lost: 'a 0', accepted as m_1_1"),
        (problems({**PROMPT, "status": "generating"}), "r_1 1: the prompt is still generating"),
        (problems(PROMPT), "r_1 1: the prompt is answered, but has no reply"),
        (
            problems({**PROMPT, "status": "failed", "error_code": "blocked"}, REPLY),
            "r_1 1: the prompt failed, but has a reply",
        ),
        (
            problems(PROMPT, {**REPLY, "content": "You said: b 0 (turn 1)"}),
            "r_1 1: the reply belongs to another prompt: 'You said: b 0 (turn 1)'",
        ),
        (problems(PROMPT, REPLY, {**REPLY, "seq": 4}), "r_1 4: a reply without a prompt"),
        (
            problems(PROMPT, REPLY, sent=[Prompt("r_1", "a 0", "", "refused")]),
            "'a 0' was refused, but is stored",
        ),
        (
            problems(PROMPT, REPLY, {**PROMPT, "seq": 3}, {**REPLY, "seq": 4}),
            "doubled: 'a 0' is stored 2 times",
        ),
        (
            problems(PROMPT, REPLY, sent=[Prompt("r_1", "b 0", "", "refused")]),
            "'a 0' is stored, but nobody sent it",
        ),
        (
            problems(PROMPT, REPLY, usage={**USAGE, "prompts": 2}),
            f"miscounted: 2 prompts on {DAY} instead of 1",
        ),
        (
            problems(PROMPT, REPLY, usage={**USAGE, "in_flight": 1}),
            f"in_flight is 1 on {DAY}, although every prompt has ended",
        ),
    ],
)
def test_the_audit_names_each_kind_of_problem(found: list[str], says: str) -> None:
    assert says in found


def test_make_chaos_without_stand_ins_says_how_to_start_them() -> None:
    with pytest.raises(CommandError, match="start `make up` without their keys"):
        asyncio.run(chaos(DESCRIPTION, 1, 1, show=lambda _: None))


FIRST = 40
"""The number of requests that a test compares."""


def run_faults(seed: int) -> list[Any]:
    """Cause faults without pauses, and return the first requests that cause them."""
    asked: list[Any] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, str(request.url), request.content))
        if len(asked) == FIRST:
            tasks[0].cancel()
        return httpx.Response(200, json={"events": [], "data": {}})

    stack = msgspec.structs.replace(
        DESCRIPTION,
        valkey=running.Valkey(host="127.0.0.1", port=0),
        functions={"GeminiWorker": "none", "ChatroomSendMessage": "none"},
        logs="/nowhere/logs",
    )

    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            urls = Urls("http://aws", "http://gemini", "http://stripe")
            faults = Faults(stack, urls, http, random.Random(f"{seed} faults"), gap=0)
            tasks.append(asyncio.create_task(faults.run(math.inf)))
            with contextlib.suppress(asyncio.CancelledError):
                await tasks[0]

    tasks: list[asyncio.Task[None]] = []
    asyncio.run(run())
    return asked


def test_the_same_seed_repeats_the_faults_and_another_seed_changes_them() -> None:
    assert run_faults(1) == run_faults(1) != run_faults(2)


def act_as_users(seed: int) -> list[str]:
    """Run the users against an API that accepts everything; return their first requests."""
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        asked.append(f"{request.method} {path}")
        if len(asked) == FIRST:
            world.until = 0
        data = {"otp": "1", "challenge": "c", "token": "t", "user": {"id": "u"}, "id": "r_1"}
        usage = {"used": 0}
        data |= {"messageId": "m", "status": "answered", "plan": "basic", "usage": usage}
        status = 202 if path.endswith("/message") else 200
        return httpx.Response(status, json={"data": data})

    transport = httpx.MockTransport(answer)
    http = httpx.AsyncClient(transport=transport, base_url="http://api")
    world = World(http, http, "x", math.inf, longest_pause=0.001)
    asyncio.run(run_users(world, seed, 1))
    return asked


def test_the_same_seed_repeats_the_users_requests_and_another_seed_changes_them() -> None:
    assert act_as_users(1) == act_as_users(1) != act_as_users(2)
