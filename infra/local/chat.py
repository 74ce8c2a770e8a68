"""A chat in the terminal, against the running stack."""

import contextlib
import secrets
import sys

from infra.local.client import Api, Refused, Unreachable
from infra.paths import LocalError

with contextlib.suppress(ImportError):
    import readline  # noqa: F401 (input() then knows the arrow keys)

PATIENCE = 180.0
"""Seconds to wait for an answer."""


def chat(url: str, email: str | None, password: str | None) -> None:
    """Talk until the input ends, as this account or as a new one. Raises LocalError."""
    api = Api(url)
    try:
        if email and password:
            api.log_in(email, password)
        else:
            email, password = f"guest-{secrets.token_hex(3)}@example.com", secrets.token_hex(6)
            api.sign_up(email, password)
        room = api.open_room("Terminal").data["id"]
    except (Refused, Unreachable) as error:
        raise LocalError(str(error)) from error
    if sys.stdin.isatty():
        print(f"You are {email} (password {password}), in a new room. Ctrl-D leaves.")
    while (prompt := _read()) is not None:
        if prompt:
            print(_answer(api, room, prompt, email, password), flush=True)


def _answer(api: Api, room: str, prompt: str, email: str, password: str) -> str:
    """Return what to show for a prompt: the reply, or why there is none."""
    try:
        try:
            sent = api.send(room, prompt)
        except Refused as refused:
            if refused.status != 401:
                raise
            api.log_in(email, password)  # the token had expired
            sent = api.send(room, prompt)
        message = api.wait(room, sent.data["messageId"], PATIENCE).data
    except Refused as refused:
        return f"({refused})"
    except TimeoutError as late:
        return f"(No answer yet: {late}.)"
    except Unreachable as error:
        raise LocalError(str(error)) from error
    if message["status"] == "failed":
        why = message.get("error") or {}
        return f"({why.get('message', 'The prompt failed.')})"
    return str(message["reply"]["content"])


def _read() -> str | None:
    """Return the next line, or None at the input's end."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        if sys.stdin.isatty():
            print()
        return None
