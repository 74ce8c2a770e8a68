"""Clients of the original backend, which know neither challenges nor device tokens."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.http_api import Reply
from tests.support.lambdas import Api
from tests.support.person import OTHER_PASSWORD, PASSWORD, new_mobile, problem

NOW = datetime(2026, 7, 1, 9, tzinfo=UTC)
KNOWN = {"mobile", "otp", "password", "currentPassword", "newPassword"}
"""The fields of the original's requests."""


class OriginalClient:
    """Sends the original's fields only, and takes codes from the answers, as it did."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.mobile = new_mobile().value
        self.token: str | None = None

    def post(self, path: str, at: datetime, **body: str) -> Reply:
        """Send a request with the token, if there is one, and check the envelope of a success."""
        assert set(body) <= KNOWN
        reply = self._api.post(path, body, token=self.token, at=at)
        if reply.status < 400:
            assert reply.json["success"] is True
            assert reply.json["message"].endswith(".")
        else:
            assert reply.json["success"] is False
            assert reply.json["message"] == reply.json["detail"]
        return reply

    def log_in_by_code(self, at: datetime) -> Any:
        """Log in by code, and keep the token."""
        asked = self.post("/auth/send-otp", at, mobile=self.mobile)
        reply = self.post("/auth/verify-otp", at, mobile=self.mobile, otp=asked.data["otp"])
        assert reply.status == 200, reply.text
        self.token = reply.data["token"]
        return reply.data

    def me(self, at: datetime) -> Reply:
        """Request the user."""
        return self._api.get("/auth/me", token=self.token, at=at)


@pytest.fixture
def client(api: Api, monkeypatch: pytest.MonkeyPatch) -> OriginalClient:
    monkeypatch.setenv("OTP_DELIVERY", "response")
    return OriginalClient(api)


def test_a_sign_up_by_number_is_verified_with_its_code(client: OriginalClient) -> None:
    signed_up = client.post("/auth/signup", NOW, mobile=client.mobile)
    assert signed_up.status == 201
    otp = signed_up.data["otp"]
    wrong = f"{(int(otp) + 1) % 1_000_000:06}"
    refused = client.post("/auth/verify-otp", NOW, mobile=client.mobile, otp=wrong)
    problem(refused, 400, "invalid-code")
    verified = client.post("/auth/verify-otp", NOW, mobile=client.mobile, otp=otp)
    assert verified.status == 200
    client.token = verified.data["token"]
    me = client.me(NOW).data
    assert me["id"] == signed_up.data["user"]["id"], "the user's id stays"
    assert (me["mobile"], me["mobileVerified"]) == (client.mobile, True)


def test_a_code_creates_the_user_of_an_unknown_number_and_later_codes_log_it_in(
    client: OriginalClient,
) -> None:
    first = client.log_in_by_code(NOW)
    client.token = None
    second = client.log_in_by_code(NOW + timedelta(minutes=1))
    assert second["user"]["id"] == first["user"]["id"]
    assert client.me(NOW + timedelta(minutes=1)).status == 200


def test_a_sign_up_with_a_password_can_log_in_with_it_at_once(client: OriginalClient) -> None:
    client.post("/auth/signup", NOW, mobile=client.mobile, password=PASSWORD)
    reply = client.post("/auth/login", NOW, mobile=client.mobile, password=PASSWORD)
    assert reply.status == 200
    client.token = reply.data["token"]
    assert client.me(NOW).status == 200


@pytest.mark.parametrize("sends_token", [True, False], ids=["with the token", "without it"])
def test_a_sign_up_verified_with_its_own_token_keeps_its_password(
    client: OriginalClient, *, sends_token: bool
) -> None:
    """Without the token nobody knows who signed up, so the code creates a new account."""
    signed_up = client.post("/auth/signup", NOW, mobile=client.mobile, password=PASSWORD).data
    client.token = signed_up["token"] if sends_token else None
    otp = signed_up["otp"]
    verified = client.post("/auth/verify-otp", NOW, mobile=client.mobile, otp=otp)
    assert verified.status == 200
    client.token = None
    by_password = client.post("/auth/login", NOW, mobile=client.mobile, password=PASSWORD)
    assert by_password.status == (200 if sends_token else 401)
    assert (verified.data["user"]["id"] == signed_up["user"]["id"]) == sends_token
    assert client.log_in_by_code(NOW + timedelta(minutes=1))["user"] == verified.data["user"]


def test_a_forgotten_password_is_reset_with_a_code(client: OriginalClient) -> None:
    client.log_in_by_code(NOW)
    old, client.token = client.token, None
    at = NOW + timedelta(minutes=1)
    asked = client.post("/auth/forgot-password", at, mobile=client.mobile)
    body = {"mobile": client.mobile, "otp": asked.data["otp"], "newPassword": OTHER_PASSWORD}
    assert client.post("/auth/reset-password", at, **body).status == 200
    problem(client.post("/auth/reset-password", at, **body), 400, "invalid-code")
    logged_in = client.post("/auth/login", at, mobile=client.mobile, password=OTHER_PASSWORD)
    assert logged_in.status == 200
    client.token = old
    problem(client.me(at), 401, "unauthorized")


def test_a_password_is_changed_with_the_current_one(client: OriginalClient) -> None:
    signed_up = client.post("/auth/signup", NOW, mobile=client.mobile, password=PASSWORD).data
    client.token = signed_up["token"]
    body = {"currentPassword": PASSWORD, "newPassword": OTHER_PASSWORD}
    changed = client.post("/auth/change-password", NOW, **body)
    assert changed.status == 200
    problem(client.me(NOW), 401, "unauthorized")
    client.token = changed.data["token"]
    assert client.me(NOW).status == 200
    reply = client.post("/auth/login", NOW, mobile=client.mobile, password=OTHER_PASSWORD)
    assert reply.status == 200


def test_an_attack_from_other_addresses_does_not_lock_the_original_client_out(
    client: OriginalClient, api: Api
) -> None:
    client.log_in_by_code(NOW)
    client.token = None
    at = NOW + timedelta(minutes=1)
    for n in range(20):
        body = {"mobile": client.mobile, "otp": f"{n:06}"}
        api.post("/auth/verify-otp", body, at=at, source=f"198.18.3.{n % 10}")
    assert client.log_in_by_code(at)
