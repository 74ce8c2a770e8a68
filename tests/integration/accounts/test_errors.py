"""Errors that these endpoints declare and that no other test provokes."""

import pytest

from tests.support.lambdas import Api
from tests.support.person import Person, new_mobile, problem
from tests.support.wire import Wire


def test_a_request_for_a_code_is_a_502_if_the_code_cannot_be_sent(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_FROM", "nobody@unverified.example")
    problem(Person(api).ask_for_code(), 502, "delivery-failed")
    problem(Person(api).forget_password(), 502, "delivery-failed")


def test_a_sign_up_is_a_502_if_its_text_message_cannot_be_sent(api: Api, wire: Wire) -> None:
    wire.cut("sns.Publish", "refused", times=2)
    problem(Person(api, new_mobile()).sign_up(), 502, "delivery-failed")


@pytest.mark.parametrize("password", ["password1", "1234567"])
def test_a_sign_up_with_a_weak_password_is_a_400(api: Api, password: str) -> None:
    problem(Person(api).sign_up(password), 400, "weak-password")


def test_wrong_current_passwords_in_requests_to_add_an_identity_are_limited(api: Api) -> None:
    ann = Person(api)
    token = ann.sign_up().data["token"]
    wrong = {"mobile": new_mobile().value, "otp": "000000", "currentPassword": "wrong password"}
    for _ in range(6):
        problem(api.post("/user/identity", wrong, token=token), 401, "invalid-credentials")
    problem(api.post("/user/identity", wrong, token=token), 429, "too-many-requests")
