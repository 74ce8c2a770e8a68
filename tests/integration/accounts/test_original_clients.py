"""Clients of the original backend, which send no challenge and no device token."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.lambdas import Api
from tests.support.person import OTHER_PASSWORD, PASSWORD, new_mobile

NOW = datetime(2026, 7, 1, 9, tzinfo=UTC)


def test_an_original_client_can_use_all_its_account_endpoints(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client reads the codes from the answers."""
    monkeypatch.setenv("OTP_DELIVERY", "response")
    named = {"mobile": new_mobile().value}

    def post(path: str, minute: int, body: dict[str, str], token: str | None = None) -> Any:
        reply = api.post(path, body, token=token, at=NOW + timedelta(minutes=minute))
        assert reply.status in (200, 201), reply.text
        assert reply.json["success"] is True
        return reply.data

    mine = post("/auth/signup", 0, named | {"password": PASSWORD})
    proven = post("/auth/verify-otp", 0, named | {"otp": mine["otp"]}, mine["token"])
    assert proven["user"]["id"] == mine["user"]["id"]
    body = {"currentPassword": PASSWORD, "newPassword": OTHER_PASSWORD}
    post("/auth/change-password", 0, body, proven["token"])
    post("/auth/login", 0, named | {"password": OTHER_PASSWORD})

    otp = post("/auth/forgot-password", 1, named)["otp"]
    post("/auth/reset-password", 1, named | {"otp": otp, "newPassword": PASSWORD})
    post("/auth/login", 1, named | {"password": PASSWORD})
    otp = post("/auth/send-otp", 2, named)["otp"]
    again = post("/auth/verify-otp", 2, named | {"otp": otp})
    assert again["user"]["id"] == mine["user"]["id"]
