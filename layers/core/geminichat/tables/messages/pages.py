"""Read pages of a room's line, and the turns before a prompt."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET
from pynamodb.expressions.condition import Condition

from geminichat.domain.history import PastTurn
from geminichat.domain.lines import Hidden
from geminichat.domain.messages import UNFINISHED, Message
from geminichat.domain.rooms import Room
from geminichat.domain.sessions import Claims
from geminichat.tables import chatrooms
from geminichat.tables.messages.stored import StoredMessage
from geminichat.tables.messages.views import view
from geminichat.tables.table import overlap, read_page

LARGEST_PAGE = 1_000
"""Messages per page when a whole room is read; a page has a megabyte at most."""
PAGE_LENGTH = 1_000_000
"""A page with more characters is not filled up with further messages."""

type Page = tuple[list[dict[str, Any]], bool]
"""Messages as mappings of attributes, and whether more may follow."""


def read_newest(
    caller: Claims, chatroom_id: str, limit: int, before: int | None, now: datetime
) -> tuple[Room, list[Message], int | None]:
    """Return the user's room, a page of messages before a position, and where to continue.

    The page has up to `limit` messages: the newest ones before the position, oldest first. Raises
    NotFound, and Unauthorized if the session has ended.
    """
    (room, hidden), first = overlap(
        lambda: chatrooms.get(caller, chatroom_id, now),
        lambda: _read_back(chatroom_id, before, limit),
    )
    items, more = _fill_back(chatroom_id, first, limit, hidden)
    earlier = hidden.skip_back(int(items[-1]["seq"]) - 1) if more else 0
    return room, [view(item) for item in reversed(items)], earlier + 1 if earlier else None


def read_after(
    caller: Claims, chatroom_id: str, seq: int, limit: int, now: datetime
) -> tuple[list[Message], int | None, bool]:
    """Return up to `limit` messages of the user's room after a position, and where to continue.

    Also returns whether the message at the position is hidden. Raises NotFound, and Unauthorized if
    the session has ended.
    """

    def read(position: int, limit: int) -> Page:
        return _read_page(chatroom_id, StoredMessage.seq > position, limit)

    (_, hidden), first = overlap(
        lambda: chatrooms.get(caller, chatroom_id, now), lambda: read(seq, limit)
    )
    items, more = _fill(
        first, limit, hidden, lambda last, left: read(hidden.skip_forward(last + 1) - 1, left)
    )
    last = hidden.skip_forward(int(items[-1]["seq"]) + 1) - 1 if more else None
    return [view(item) for item in items], last, hidden.has_position(seq)


def read_all(chatroom_id: str, hidden: Hidden) -> Iterator[Message]:
    """Yield every message of a room in order, page by page; hidden messages have `hidden` set."""
    position: int | None = 0
    while position is not None:
        items, more = _read_page(chatroom_id, StoredMessage.seq > position, LARGEST_PAGE)
        for item in items:
            is_hidden = hidden.has_position(int(item["seq"])) or UNSET
            yield msgspec.structs.replace(view(item), hidden=is_hidden)
        position = int(items[-1]["seq"]) if more else None


class Past(msgspec.Struct, frozen=True):
    """The latest turns before a prompt."""

    turns: list[PastTurn]
    """The turns with a reply, oldest first."""
    unfinished: list[int]
    """The positions of the unfinished prompts, oldest first."""


def read_past(chatroom_id: str, before: int, limit: int, hidden: Hidden) -> Past:
    """Return the last `limit` turns before a position, without hidden turns."""
    attributes = ["seq", "sender", "status", "content"]
    start = hidden.skip_back(before - 1) + 1
    first = _read_back(chatroom_id, start, 2 * limit, attributes)
    items, _ = _fill_back(chatroom_id, first, 2 * limit, hidden, attributes)
    found = {int(item["seq"]): item for item in items}
    prompts = [(seq, item) for seq, item in sorted(found.items()) if item["sender"] == "user"]
    return Past(
        [
            PastTurn(prompt=item["content"], reply=found[seq + 1]["content"])
            for seq, item in prompts
            if seq + 1 in found
        ],
        [seq for seq, item in prompts if item.get("status") in UNFINISHED],
    )


def list_failures(chatroom_id: str, limit: int) -> list[tuple[int, str, str]]:
    """Return the position, time and code of each failure in a room's newest messages.

    No content is read.
    """
    attributes = ["seq", "failed_at", "error_code"]
    items, _ = _read_back(chatroom_id, None, limit, attributes)
    return [
        (int(item["seq"]), item["failed_at"], item["error_code"])
        for item in items
        if "failed_at" in item
    ]


def _read_back(
    chatroom_id: str, before: int | None, limit: int, attributes: list[str] | None = None
) -> Page:
    """Return up to `limit` messages before a position, newest first."""
    if before == 1:
        return [], False
    earlier = StoredMessage.seq.between(1, before - 1) if before else StoredMessage.seq > 0
    return _read_page(
        chatroom_id, earlier, limit, scan_index_forward=False, attributes_to_get=attributes
    )


def _fill_back(
    chatroom_id: str,
    first: Page,
    limit: int,
    hidden: Hidden,
    attributes: list[str] | None = None,
) -> Page:
    def read(last: int, left: int) -> Page:
        return _read_back(chatroom_id, hidden.skip_back(last - 1) + 1, left, attributes)

    return _fill(first, limit, hidden, read)


def _fill(first: Page, limit: int, hidden: Hidden, read: Callable[[int, int], Page]) -> Page:
    """Return a page without its hidden messages, filled up with the messages that follow.

    `read` takes a position and a limit, and returns up to that many messages after the position. A
    page may stay shorter if its messages are long.
    """
    (page, more), asked = first, limit
    shown: list[dict[str, Any]] = []
    while True:
        shown += [item for item in page if not hidden.has_position(int(item["seq"]))]
        is_long = len(page) < asked or sum(len(item["content"]) for item in shown) > PAGE_LENGTH
        if not more or len(shown) == limit or (shown and is_long):
            return shown, more
        asked = limit - len(shown)
        page, more = read(int(page[-1]["seq"]), asked)


def _read_page(chatroom_id: str, positions: Condition, limit: int, **options: Any) -> Page:
    """Return up to `limit` messages at these positions, and whether more may follow."""
    return read_page(
        StoredMessage.query(chatroom_id, positions, consistent_read=True, limit=limit, **options)
    )
