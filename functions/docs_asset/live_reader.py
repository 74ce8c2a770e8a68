"""Show a reply as it grows: an example to copy, which requires aiohttp.

A socket may lose, repeat or reorder frames. Missing text is fetched, so the text is complete in any
case, even without a socket.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp

type Show = Callable[[str], None]


async def watch(http: aiohttp.ClientSession, room: str, message: str, show: Show) -> dict[str, Any]:
    """Call `show` with the reply's text whenever it grows; return the prompt when it has ended.

    `http` is a client with the API's URL as its base URL and an access token in its headers.
    """
    attempt, text = 0, b""  # in UTF-16, because offsets count its code units
    socket, renew_at = None, 0.0

    def read(piece: dict[str, Any]) -> bool:
        """Add the text of a frame or of a fetched prompt; return whether to fetch the rest."""
        nonlocal attempt, text
        if piece.get("type") in ("look", "ended"):
            return True
        if piece["attempt"] > attempt:  # the reply begins again
            attempt, text = piece["attempt"], b""
        start = 2 * piece.get("from", 0)
        longer = text[:start] + piece.get("text", "").encode("utf-16-le")
        if piece["attempt"] == attempt and start <= len(text) < len(longer):
            text = longer
            show(text.decode("utf-16-le", errors="ignore"))
        return bool(piece["attempt"] == attempt and start > len(text))

    while True:
        path = f"/chatroom/{room}/message/{message}?from={len(text) // 2}"
        async with http.get(path, raise_for_status=True) as answer:
            prompt: dict[str, Any] = (await answer.json())["data"]
        if prompt["status"] not in ("queued", "generating"):
            if socket:
                await socket.close()
            return prompt
        is_missing = "partial" in prompt and read(prompt["partial"])
        try:
            if socket is None or socket.closed:
                async with http.post("/live", raise_for_status=True) as answer:
                    address = (await answer.json())["data"]
                socket = await http.ws_connect(address["url"])
                renew_at = asyncio.get_running_loop().time() + address["pingAfter"]
                continue
            if asyncio.get_running_loop().time() > renew_at:
                await socket.send_json({"action": "renew"})
                renew_at += address["pingAfter"]
            while not is_missing:
                frame = await socket.receive_json(timeout=5)
                if frame.get("messageId") == message:
                    is_missing = read(frame)
        except TimeoutError:
            continue
        except (aiohttp.ClientError, TypeError):  # the socket is closed, or cannot be opened
            await asyncio.sleep(1)
