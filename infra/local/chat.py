"""A chat in the terminal with the running system."""

import contextlib
import secrets
import sys

from infra.command import CommandError
from infra.local.client import Api, ApiError, Unreachable

with contextlib.suppress(ImportError):
    import readline  # noqa: F401 (makes the arrow keys work in input())

PATIENCE = 180.0
"""Seconds to wait for a reply."""


def chat(url: str, email: str | None, password: str | None) -> None:
    """Chat until the input ends, with this account or a new one. Raises CommandError."""
    api = Api(url)
    try:
        if email and password:
            api.log_in(email, password)
        else:
            email, password = f"guest-{secrets.token_hex(3)}@example.com", secrets.token_hex(6)
            api.sign_up(email, password)
        room = api.open_room("Terminal").data["id"]
    except (ApiError, Unreachable) as error:
        raise CommandError(str(error)) from error
    if sys.stdin.isatty():
        print(f"Logged in as {email} (password {password}), in a new room. Ctrl-D ends the chat.")
    while (prompt := _read()) is not None:
        if prompt:
            print(_answer(api, room, prompt, email, password), flush=True)


def _answer(api: Api, room: str, prompt: str, email: str, password: str) -> str:
    """Return the reply to a prompt, or the reason why there is none."""
    try:
        try:
            sent = api.send(room, prompt)
        except ApiError as refused:
            if refused.status != 401:
                raise
            api.log_in(email, password)  # the token had expired
            sent = api.send(room, prompt)
        message = api.wait(room, sent.data["messageId"], PATIENCE).data
    except ApiError as refused:
        return f"({refused})"
    except TimeoutError as late:
        return f"(No reply yet: {late}.)"
    except Unreachable as error:
        raise CommandError(str(error)) from error
    if message["status"] == "failed":
        reason = (message.get("error") or {}).get("message", "The prompt failed.")
        return f"({reason})"
    return str(message["reply"]["content"])


def _read() -> str | None:
    """Return the next line, or None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        if sys.stdin.isatty():
            print()
        return None
