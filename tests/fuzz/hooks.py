"""The access tokens that Schemathesis sends: tokens of a main user and of new users."""

import os
import secrets
from typing import Any

import requests
import schemathesis

ONE_USER_EACH = {
    "DELETE /user",
    "POST /auth/change-password",
    "POST /auth/logout",
    "POST /subscribe/pro",
    "POST /user/export",
    "POST /user/identity",
}
"""Operations that may end a session, throttle a user's logins, or work only once per user."""


def _user_of(_case: Any, context: Any) -> str:
    label: str = context.operation.label
    return label if label in ONE_USER_EACH else "main"


# A token is valid for 15 minutes; a rejected token is replaced earlier.
@schemathesis.auth(refresh_interval=600, cache_by_key=_user_of)
class Account:
    """The source of tokens: refreshes the main user's session, because logins may be throttled."""

    def __init__(self) -> None:
        self._refresh_token = os.environ["FUZZ_REFRESH_TOKEN"]

    def get(self, case: Any, context: Any) -> str:
        """Return the main user's token, or a new user's if the operation is in ONE_USER_EACH."""
        if _user_of(case, context) != "main":
            email = f"fuzz-{secrets.token_hex(8)}@example.com"
            body = {"email": email, "password": secrets.token_urlsafe()}
            return str(_post("/auth/signup", body)["token"])
        pair = _post("/auth/refresh", {"refreshToken": self._refresh_token})
        self._refresh_token = pair["refreshToken"]
        return str(pair["token"])

    def set(self, case: Any, token: str, _context: Any) -> None:
        """Add the token to the headers of the request."""
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}


def _post(path: str, body: dict[str, str]) -> dict[str, Any]:
    answer = requests.post(os.environ["FUZZ_URL"] + path, json=body, timeout=40)
    answer.raise_for_status()
    data: dict[str, Any] = answer.json()["data"]
    return data
