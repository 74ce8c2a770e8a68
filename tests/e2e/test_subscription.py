"""The pro plan, bought on the stand-in's page and followed by its events."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from infra.local.client import Api
from tests.e2e.conftest import RunningStack


def status_of(stack: RunningStack, user: Api) -> Mapping[str, Any]:
    """Return the user's subscription as the API tells it."""
    answer = stack.http.get("/subscription/status", headers=user.headers)
    assert answer.status_code == 200
    told: Mapping[str, Any] = answer.json()["data"]
    return told


def becomes(stack: RunningStack, user: Api, plan: str) -> Mapping[str, Any]:
    """Wait until the user's plan is this one."""
    deadline = time.monotonic() + 30
    while (told := status_of(stack, user))["plan"] != plan:
        assert time.monotonic() < deadline, f"still {told}"
        time.sleep(0.2)
    return told


def test_a_paid_checkout_lifts_the_daily_limit_until_the_subscription_ends(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    assert status_of(stack, user)["plan"] == "basic"

    page = stack.http.post("/subscribe/pro", headers=user.headers).json()
    assert page["url"].startswith(stack.stripe.url)
    assert httpx.get(page["url"], trust_env=False).status_code == 200
    stack.stripe.turn(page["data"]["sessionId"], "pay")
    becomes(stack, user, "pro")

    room = user.open_room("Plenty").data["id"]
    sent = [user.send(room, f"Prompt {number}").status for number in range(7)]
    assert sent == [202] * 7
    again = stack.http.post("/subscribe/pro", headers=user.headers)
    assert again.status_code == 409

    [session] = [
        event["event"]["data"]["object"]
        for event in stack.stripe.events()
        if event["event"]["data"]["object"]["id"] == page["data"]["sessionId"]
    ]
    back = urlsplit(session["success_url"])
    assert stack.http.get(back.path).status_code == 200
    stack.stripe.move(session["subscription"], "cancel")
    becomes(stack, user, "basic")
