"""Hostile requests to the deployed API, and secrets that its log must not contain."""

import json
from typing import Any

import pytest

from tests.support.deployed import RunningStack
from tests.support.person import PASSWORD

ROOM = "/chatroom/r_" + "a" * 26


def check_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check the problem's documented fields, status and code, and return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"].endswith(f":{code}")
    assert body["status"] == status
    assert body["success"] is False
    assert body["message"] == body["detail"]
    assert body["instance"] == answer.headers["x-request-id"]
    return body


def test_another_users_room_gets_the_same_404_as_an_unknown_room(stack: RunningStack) -> None:
    owner, stranger = stack.new_user(), stack.new_user()
    room = owner.open_room("Mine")
    message = owner.ask(room, "Secret")

    def ask_as_stranger(method: str, path: str) -> dict[str, Any]:
        body = {"content": "a"} if method == "POST" and path.endswith("/message") else None
        body = {"title": "b"} if method == "PATCH" else body
        answer = stack.http.request(method, path, json=body, headers=stranger.headers)
        found = check_problem(answer, 404, "not-found")
        return {name: value for name, value in found.items() if name != "instance"}

    other = message.replace(room[2:], "a" * 26)
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/message"),
        ("POST", "/message"),
        ("GET", "/message/{message}"),
        ("POST", "/message/{message}/retry"),
    ):
        theirs = ask_as_stranger(method, f"/chatroom/{room}" + path.format(message=message))
        nobodys = ask_as_stranger(method, ROOM + path.format(message=other))
        assert theirs == nobodys, (method, path)
    assert owner.me().data["usage"]["used"] == 1
    assert stranger.me().data["usage"]["used"] == 0


@pytest.mark.parametrize("path", ["/nowhere", "/chatroom/a/b/c/d", "/chatroom/../admin", "/.env"])
def test_an_unknown_path_gets_the_gateways_own_404(stack: RunningStack, path: str) -> None:
    answer = stack.http.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"message": "Not Found"}


def test_a_room_id_with_escaped_characters_is_a_404(stack: RunningStack) -> None:
    user = stack.new_user()
    for room in ("%00", "r_%2e%2e"):
        check_problem(stack.http.get(f"/chatroom/{room}", headers=user.headers), 404, "not-found")


def test_the_deep_health_check_needs_no_token_and_names_failing_dependencies(
    stack: RunningStack,
) -> None:
    assert stack.http.get("/health").json()["data"]["status"] == "ok"
    deep = stack.http.get("/health", params={"deep": "1"})
    assert deep.status_code == 200
    assert set(deep.json()["data"]["dependencies"].values()) == {"ok"}
    stack.upstash.fault("error", times="always")
    deep = stack.http.get("/health", params={"deep": "1"})
    assert deep.status_code == 503
    assert deep.json()["data"]["dependencies"]["redis"] == "down"
    assert stack.http.get("/health").status_code == 200


def test_the_log_contains_no_secret_and_no_text_of_a_user(stack: RunningStack) -> None:
    user = stack.new_user()
    room = user.open_room("The title of a room")
    user.wait(room, user.ask(room, "The content of a prompt"))
    stack.http.get("/chatroom", headers={"authorization": "Bearer stolen.token.here"})

    logged = json.dumps(stack.read_log())
    assert room in logged, "the log has no line about the room"
    for secret in (
        user.token,
        PASSWORD,
        "The title of a room",
        "The content of a prompt",
        "You said",
        "stolen.token.here",
        stack.description.upstash.token,
        "@example.com",
    ):
        assert secret not in logged
