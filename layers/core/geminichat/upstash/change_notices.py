"""Change notices in Redis: each announces a change to a user's list of rooms.

A notice drops the cached list; `room_list_cache` says when a list may be cached again.
"""

import secrets
import time
from datetime import datetime
from typing import Literal

from geminichat.domain import times
from geminichat.upstash import redis

VERSION = 2
"""The version in the Redis keys: code of an older version uses other keys."""

NOTICE_LIFETIME = 15
"""The lifetime of a notice in seconds. No function that reads or changes rooms runs longer."""

ANNOUNCE = """
local function announce(list, notices, notice, seconds, now)
  redis.call('DEL', list)
  local count = redis.pcall('HLEN', notices)
  if type(count) == 'table' or count > 50 then
    redis.call('DEL', notices)
    redis.call('HSET', notices, 'more', now)
  end
  redis.call('HSET', notices, notice, now, 'latest', notice)
  redis.call('EXPIRE', notices, seconds)
end
"""
"""A Lua function for scripts that announce a change; see `announce`."""


type Kind = Literal["created", "active", "changed", "titled", "deleted"]
"""The kind of a change to a room.

`active` moves the room's latest activity forward to the time of the change, `changed` sets it to
that time, and `titled` does not change it.
"""


def list_keys(user_id: str) -> list[str]:
    """Return the Redis keys of a user's cached list and of its change notices."""
    return [f"rooms:{VERSION}:{user_id}", f"room-notices:{VERSION}:{user_id}"]


def announce(notice: str, user_id: str) -> None:
    """Drop a user's cached list. After that, no list is cached that could lack the change.

    Call this before the change is written.
    """
    script = f"{ANNOUNCE} announce(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]) return 1"
    redis.evaluate(script, list_keys(user_id), announce_arguments(notice))


def announce_arguments(notice: str) -> list[str | int]:
    """Return the arguments that the Lua function `announce` takes after the keys."""
    return [notice, NOTICE_LIFETIME, int(time.time())]


def notice(kind: Kind, room_id: str, now: datetime) -> str:
    """Return the notice of a change to a room at `now`."""
    return f"{kind} {room_id} {secrets.token_hex(4)} {times.text(now)}"
