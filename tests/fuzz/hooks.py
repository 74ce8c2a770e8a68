"""Who Schemathesis is to the API: one user whose token is renewed, and others to be used up."""

import os
import secrets
from typing import Any

import requests
import schemathesis

USED_UP = {
    "POST /auth/change-password",
    "POST /auth/logout",
    "POST /subscribe/pro",
    "POST /user/identity",
}
"""Operations that may end their own session, pause its user's passwords, or work once only."""


def _whose(_case: Any, context: Any) -> str:
    label: str = context.operation.label
    return label if label in USED_UP else "main"


# A token holds for 15 minutes. One that is refused is renewed before its time.
@schemathesis.auth(refresh_interval=600, cache_by_key=_whose)
class Account:
    """The main user's session is renewed, as a login might be paused by wrong ones before it."""

    def __init__(self) -> None:
        self._refresh_token = os.environ["FUZZ_REFRESH_TOKEN"]

    def get(self, case: Any, context: Any) -> str:
        """Return an access token."""
        if _whose(case, context) != "main":
            email = f"fuzz-{secrets.token_hex(8)}@example.com"
            body = {"email": email, "password": secrets.token_urlsafe()}
            return str(_post("/auth/signup", body)["token"])
        pair = _post("/auth/refresh", {"refreshToken": self._refresh_token})
        self._refresh_token = pair["refreshToken"]
        return str(pair["token"])

    def set(self, case: Any, token: str, _context: Any) -> None:
        """Send it along."""
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}


def _post(path: str, body: dict[str, str]) -> dict[str, Any]:
    answer = requests.post(os.environ["FUZZ_URL"] + path, json=body, timeout=40)
    answer.raise_for_status()
    data: dict[str, Any] = answer.json()["data"]
    return data
