"""Accounts over HTTP, on the deployed stack with IAM enforced."""

import secrets
from typing import Any

import httpx
import pytest

from tests.support import archives
from tests.support.deployed import RunningStack
from tests.support.http_api import Client
from tests.support.parallel import wait_until
from tests.support.person import PASSWORD, Person, new_email, new_mobile

FIRST = f"first {secrets.token_hex(8)} password"
SECOND = f"second {secrets.token_hex(8)} password"


def post(ann: Person, path: str, status: int = 200, token: str | None = None, **body: Any) -> Any:
    """Send a request with the identity of ann; return the answer's data or problem."""
    return send(ann.api, path, ann.named | body, status, token)


def send(
    api: Client, path: str, body: Any = None, status: int = 200, token: str | None = None
) -> Any:
    reply = api.post(f"/auth/{path}", body or {}, token=token or None)
    assert reply.status == status, reply.text
    return reply.data if status < 400 else reply.json


def me(stack: RunningStack, token: str, path: str = "/auth/me") -> httpx.Response:
    return stack.http.get(path, headers={"authorization": f"Bearer {token}"})


@pytest.fixture(params=["email", "mobile"])
def ann(request: pytest.FixtureRequest, stack: RunningStack) -> Person:
    """A person who has not signed up."""
    return Person(stack.api, new_email() if request.param == "email" else new_mobile())


def test_a_code_proves_the_identity_that_received_it(stack: RunningStack, ann: Person) -> None:
    sent = post(ann, "send-otp")
    assert (sent["expiresIn"], sent["otp"]) == (600, ann.code())  # this stage shows codes
    wrong = f"{(int(ann.code()) + 1) % 1_000_000:06}"
    assert post(ann, "verify-otp", 400, otp=wrong)["type"].endswith(":invalid-code")
    data = post(ann, "verify-otp", otp=ann.code())
    assert data["user"][f"{ann.identity.kind}Verified"] is True
    for path in ("/auth/me", "/user/me"):
        assert me(stack, data["token"], path).json()["data"] == data["user"]
    assert post(ann, "verify-otp", 400, otp=ann.code())["type"].endswith(":invalid-code")
    again = stack.http.post("/auth/send-otp", json=ann.named)
    assert again.status_code == 429
    assert 0 < int(again.headers["retry-after"]) <= 30


def test_a_user_who_logged_in_by_code_sets_a_password_with_a_fresh_proof(
    stack: RunningStack,
) -> None:
    ann = Person(stack.api)
    post(ann, "send-otp")
    came = post(ann, "verify-otp", otp=ann.code())
    send(stack.api, "change-password", {"newPassword": FIRST}, 400, token=came["token"])
    again = stack.http.post("/auth/send-otp", json=ann.named | {"purpose": "confirm"})
    assert (again.status_code, "retry-after" in again.headers) == (429, True)
    post(ann, "send-otp", purpose="confirm", deviceToken=came["deviceToken"])
    body = {"newPassword": FIRST, "currentOtp": ann.code()}
    changed = send(stack.api, "change-password", body, token=came["token"])
    assert me(stack, came["token"]).status_code == 401
    assert me(stack, changed["token"]).status_code == 200
    assert "password of your Gemini Chat account was changed" in ann.messages()[-1]
    post(ann, "login", 401, password=SECOND)
    logged_in = post(ann, "login", password=FIRST)
    assert me(stack, logged_in["token"]).json()["data"]["id"] == came["user"]["id"]


def test_a_forgotten_password_is_reset(stack: RunningStack) -> None:
    ann = Person(stack.api)
    mine = post(ann, "signup", 201, password=FIRST)
    post(ann, "forgot-password")
    post(ann, "reset-password", 400, otp=ann.code(), newPassword="password1")
    assert post(ann, "reset-password", otp=ann.code(), newPassword=SECOND) is None
    assert me(stack, mine["token"]).status_code == 401
    post(ann, "login", 401, password=FIRST)
    assert me(stack, post(ann, "login", password=SECOND)["token"]).status_code == 200


def test_a_user_adds_a_mobile_number_and_replaces_the_email_address(
    stack: RunningStack,
) -> None:
    ann = Person(stack.api)
    mine = post(ann, "signup", 201, password=FIRST)
    post(ann, "send-otp")
    post(ann, "verify-otp", token=mine["token"], otp=ann.code())
    contested = Person(stack.api)
    stranger = post(contested, "signup", 201, password=SECOND)
    for added in (Person(stack.api, new_mobile()), contested):
        post(added, "send-otp", purpose="link")
        answer = stack.http.post(
            "/user/identity",
            json=added.named | {"otp": added.code(), "currentPassword": FIRST},
            headers={"authorization": f"Bearer {mine['token']}"},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"][added.identity.kind] == added.identity.value
    assert me(stack, mine["token"]).json()["data"] == answer.json()["data"]
    assert me(stack, stranger["token"]).status_code == 401
    assert "was replaced" in ann.messages()[-1]


def test_adding_a_signing_key_ends_no_session(stack: RunningStack, ann: Person) -> None:
    token = post(ann, "signup", 201, password=FIRST)["token"]
    done = stack.run("rotate_signing_keys")
    expected = 0 if ann.identity.kind == "email" else 1  # the second run is too early
    assert done.returncode == expected, done.stderr
    assert "again after" in done.stdout + done.stderr
    assert me(stack, token).status_code == 200


def test_the_roles_of_the_deployed_functions_suffice_for_an_export(
    stack: RunningStack,
) -> None:
    ann = stack.new_user()
    room = ann.open_room()
    ann.wait(room, ann.ask(room))
    assert ann.post("/user/export", {"currentPassword": PASSWORD}).status == 202

    def show() -> Any:
        return ann.get("/user/export").data

    wait_until(lambda: show()["status"] == "ready", seconds=60, every=0.5)
    url = show()["url"]
    found = archives.read(url)
    assert [message["id"] for message in found["messages"]] == [
        message["id"] for message in ann.page(room)
    ]
    assert archives.fetch(url.partition("?")[0]).status_code == 403, "the bucket is public"
    signature = url.partition("X-Amz-Signature=")[2]
    assert not [line for line in stack.log_lines() if signature in line]
