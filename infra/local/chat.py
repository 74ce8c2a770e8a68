"""A chat in the terminal with the running system."""

import asyncio
import contextlib
import secrets
import signal
import sys

import aiohttp

from functions.docs_asset import live_reader
from infra.command import CommandError
from infra.local.client import Api, ApiError, Json, Unreachable

with contextlib.suppress(ImportError):
    import readline  # noqa: F401 (makes the arrow keys work in input())

PATIENCE = 180.0
"""Seconds to wait for a reply."""


def chat(url: str, email: str | None, password: str | None) -> None:
    """Chat until the input ends, with this account or a new account. Raises CommandError."""
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
        print(f"Logged in as {email} (password {password}), in a new room.")
        print("Ctrl-C stops a reply, Ctrl-D ends the chat.")
    while (prompt := _read()) is not None:
        if prompt:
            print(_answer(api, room, prompt, email, password), flush=True)


def _answer(api: Api, room: str, prompt: str, email: str, password: str) -> str:
    """Send a prompt and show its reply; return the text that is still to be printed.

    This text is the rest of the reply, or the reason why there is no reply.
    """
    try:
        try:
            sent = api.send(room, prompt)
        except ApiError as refused:
            if refused.status != 401:
                raise
            api.log_in(email, password)  # the access token had expired
            sent = api.send(room, prompt)
        shown = Shown()
        message = asyncio.run(_watch(api, room, sent.data["messageId"], shown))
    except ApiError as refused:
        return f"({refused})"
    except TimeoutError:
        return f"(No reply after {PATIENCE:.0f} s.)"
    except Unreachable as error:
        raise CommandError(str(error)) from error
    if reply := message.get("reply"):
        return shown.rest(reply["content"]) + (" (stopped)" if reply["finish"] == "stopped" else "")
    reason = (message.get("error") or {}).get("message", f"The prompt was {message['status']}.")
    return f"({reason})"


class Shown:
    """The part of a reply that is on the screen."""

    def __init__(self) -> None:
        self._text = ""

    def show(self, text: str) -> None:
        """Print the part of this text that is not on the screen yet."""
        print(self.rest(text), end="", flush=True)

    def rest(self, text: str) -> str:
        """Return the part of this text that is not on the screen yet.

        If the text does not continue the shown text, return all of it, on a new line.
        """
        before, self._text = self._text, text
        return text.removeprefix(before) if text.startswith(before) else f"\n{text}"


async def _watch(api: Api, room: str, message: str, shown: Shown) -> Json:
    """Show a reply while it is generated; return the prompt in its final state.

    Ctrl-C stops the reply. Raises TimeoutError, Unreachable.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: stops.append(loop.run_in_executor(None, stop)))
    stops: list[asyncio.Future[None]] = []

    def stop() -> None:
        with contextlib.suppress(ApiError):  # the prompt has ended
            api.stop(room, message)

    try:
        async with aiohttp.ClientSession(api.url, headers=api.headers) as http:
            watching = live_reader.watch(http, room, message, shown.show)
            return await asyncio.wait_for(watching, PATIENCE)
    except aiohttp.ClientError as error:
        raise Unreachable(str(error)) from error
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # from now on Ctrl-C ends the chat
        await asyncio.gather(*stops)


def _read() -> str | None:
    """Return the next line, or None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        if sys.stdin.isatty():
            print()
        return None
