"""The audit after a chaos run: the API, the tables and Stripe agree on every prompt and plan."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
from boto3.dynamodb.types import TypeDeserializer

from geminichat.domain.messages import REFUNDED
from infra.local.chaos.faults import DRIP
from infra.local.chaos.users import User
from infra.local.client import FINAL
from infra.running import Stack

Json = dict[str, Any]
_read = TypeDeserializer().deserialize


class Tables:
    """The stored items, read without the code under test."""

    def __init__(self, stack: Stack) -> None:
        self._dynamodb = stack.aws.client("dynamodb")
        self._names = stack.tables

    def query(self, table: str, key: str, value: str) -> list[Json]:
        """Return the items with this hash key."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._names[table],
            KeyConditionExpression="#key = :value",
            ExpressionAttributeNames={"#key": key},
            ExpressionAttributeValues={":value": {"S": value}},
            ConsistentRead=True,
        )
        items = [item for page in pages for item in page["Items"]]
        return [{name: _read(given) for name, given in item.items()} for item in items]

    def messages(self, user: User) -> dict[str, list[Json]]:
        """Return the messages of each of the user's rooms."""
        return {room: self.query("MessagesTable", "chatroom_id", room) for room in user.rooms}


def count_prompts(tables: Tables, people: Iterable[User]) -> tuple[int, int]:
    """Return the number of prompts that have not ended, and the number of refunded prompts."""
    prompts = [
        message
        for user in people
        for messages in tables.messages(user).values()
        for message in messages
        if message["sender"] == "user"
    ]
    ended = [prompt for prompt in prompts if prompt["status"] in FINAL]
    return len(prompts) - len(ended), sum(not is_counted(prompt) for prompt in ended)


def problems_of(user: User, tables: Tables) -> Iterator[str]:
    """Yield a line per problem of a user, such as a lost, doubled or miscounted prompt."""
    yield from user.problems
    stored: defaultdict[str, list[Json]] = defaultdict(list)
    counted: Counter[str] = Counter()
    days: set[str] = set()
    has_ended = True
    for room, messages in tables.messages(user).items():
        found = {int(message["seq"]): message for message in messages}
        for seq, message in found.items():
            if message["sender"] == "user":
                reply = found.get(seq + 1)
                stored[message["content"]].append(message)
                days.add(message["created_at"][:10])
                has_ended = has_ended and message["status"] in FINAL
                if is_counted(message):
                    counted[message["created_at"][:10]] += 1
                if problem := problem_of(message, reply):
                    yield f"{room} {seq}: {problem}"
            elif seq - 1 not in found:
                yield f"{room} {seq}: a reply without a prompt"
    sent = {prompt.content: prompt for prompt in user.prompts}
    for content, prompt in sent.items():
        copies = len(stored.pop(content, []))
        if prompt.id and copies == 0:
            yield f"lost: {content!r}, accepted as {prompt.id}"
        if prompt.status == "refused" and copies:
            yield f"{content!r} was refused, but is stored"
        if copies > 1:
            yield f"doubled: {content!r} is stored {copies} times"
    for content in stored:
        yield f"{content!r} is stored, but nobody sent it"
    usage = {item["day"]: item for item in tables.query("UsageTable", "user_id", user.id)}
    for day in sorted(days):
        item = usage.get(day, {})
        if int(item.get("prompts", 0)) != counted[day]:
            yield f"miscounted: {item.get('prompts')} prompts on {day} instead of {counted[day]}"
        for name in ("reserved", "in_flight"):
            if has_ended and item.get(name):
                yield f"{name} is {item[name]} on {day}, although every prompt has ended"


def problem_of(prompt: Json, reply: Json | None) -> str | None:
    """Return the contradiction between a prompt and its reply, or None."""
    status = prompt["status"]
    if status not in FINAL:
        return f"the prompt is still {status}"
    if status == "answered" and reply is None:
        return "the prompt is answered, but has no reply"
    if status == "failed" and reply:
        return "the prompt failed, but has a reply"
    if status == "stopped" and reply and not prompt.get("counted_on"):
        return "the prompt was refunded, but has a reply"
    if reply and not is_reply_to(reply["content"], prompt["content"]):
        return f"the reply belongs to another prompt: {reply['content']!r}"
    return None


def is_reply_to(reply: str, prompt: str) -> bool:
    """Return whether a text is the stand-in's reply to a prompt, or the beginning of that reply."""
    whole = f"You said: {prompt} ("
    return reply.startswith(whole) or whole.startswith(reply) or "".join(DRIP).startswith(reply)


def is_counted(prompt: Json) -> bool:
    """Return whether a prompt that has ended counts towards the daily quota."""
    if prompt["status"] == "failed":
        return prompt.get("error_code") not in REFUNDED
    return prompt["status"] != "stopped" or bool(prompt.get("counted_on"))


async def shown_problems(user: User, today: str, counted: int) -> list[str]:
    """Return the contradictions between the API and the tables for a user."""
    under_way = [prompt for prompt in user.prompts if prompt.is_under_way]
    problems = [f"the API shows {prompt.id} as {prompt.status}" for prompt in under_way]
    answer, _ = await user.request("GET", "/auth/me")
    if answer is None or not answer.is_success:
        return [*problems, "GET /auth/me was not answered"]
    used = answer.json()["data"]["usage"]["used"]
    if used != counted:
        problems.append(f"the API shows {used} prompts on {today}, the table {counted}")
    return problems


async def plan_problems(user: User, stripe: httpx.AsyncClient, customers: list[Json]) -> list[str]:
    """Return the contradictions between a user's plan and the subscriptions at Stripe."""
    own = [one for one in customers if one["metadata"].get("user_id") == user.id]
    if len(own) > 1:
        return [f"{len(own)} customers at Stripe"]
    active = []
    for customer in own:
        params: Json = {"customer": customer["id"], "status": "active", "limit": 100}
        active = (await stripe.get("/v1/subscriptions", params=params)).json()["data"]
    if len(active) > 1:
        return [f"pays {len(active)} times at Stripe"]
    answer, _ = await user.request("GET", "/subscription/status")
    if answer is None or not answer.is_success:
        return ["GET /subscription/status was not answered"]
    shown = answer.json()["data"]
    ends = bool(active) and (
        active[0]["cancel_at_period_end"] or active[0]["cancel_at"] is not None
    )
    found = (shown["plan"], bool(shown["cancelAtPeriodEnd"]))
    expected = ("pro" if active else "basic", ends)
    return [] if found == expected else [f"plan {found}, at Stripe {expected}"]


async def customers_of(stripe: httpx.AsyncClient) -> list[Json]:
    """Return every customer at Stripe."""
    found: list[Json] = []
    while True:
        after = {"starting_after": found[-1]["id"]} if found else {}
        page = (await stripe.get("/v1/customers", params={"limit": 100, **after})).json()
        found += page["data"]
        if not page["has_more"]:
            return found
