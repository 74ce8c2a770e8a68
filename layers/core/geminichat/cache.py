"""The cache of a user's list of rooms, ten minutes in Redis.

Ten minutes bound what a lost invalidation could cost; nothing else ends the list early but the
changes it shows. Every such change drops it *before* it writes to the table and holds off new
entries for longer than any request lives: so a reader who saw the table before the change can't
put that older list back, and a writer who dies half-way leaves nothing stale.
"""

import time

import msgspec

from geminichat import metrics, upstash
from geminichat.domain.rooms import RoomPage

LIFETIME = 600
HOLD = 15
"""Seconds; longer than the time-out of every function that reads or changes rooms."""
FILL = 2
"""Seconds for which one reader fills the cache while the others wait for it."""

_LOOK = """
local page = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(page) == 'string' then return {'hit', page} end
if type(page) == 'table' and page.err then redis.call('DEL', KEYS[1]) end
if redis.call('EXISTS', KEYS[2]) == 1 then return {'held'} end
if redis.call('SET', KEYS[3], '1', 'NX', 'EX', ARGV[2]) then return {'fill'} end
return {'wait'}
"""

_KEEP = """
redis.call('DEL', KEYS[3])
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return 1
"""

_DROP = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], '1', 'EX', ARGV[1])
return 1
"""


def rooms_key(user_id: str) -> str:
    """Return the key of a user's cached list."""
    return f"rooms:{user_id}"


def hold_key(user_id: str) -> str:
    """Return the key that holds off new entries while a change is under way."""
    return f"rooms-hold:{user_id}"


def _keys(user_id: str) -> list[str]:
    return [rooms_key(user_id), hold_key(user_id), f"rooms-fill:{user_id}"]


def find_rooms(user_id: str, limit: int) -> RoomPage | None:
    """Return the first page of a user's rooms if the cache has it.

    On a miss one caller is let through at once; those who come while it reads wait for what it
    puts here, at most two seconds, and so a stampede costs one read of the table.
    """
    deadline = time.monotonic() + FILL
    while True:
        match upstash.evaluate(_LOOK, _keys(user_id), [limit, FILL]):
            case ["hit", str(page)]:
                try:
                    kept = msgspec.json.decode(page, type=RoomPage)
                except msgspec.DecodeError:
                    break
                metrics.emit(CacheHits=1)
                return kept
            case ["wait"] if time.monotonic() < deadline:
                time.sleep(0.05)
            case _:
                break
    metrics.emit(CacheMisses=1)
    return None


def keep_rooms(user_id: str, limit: int, page: RoomPage) -> None:
    """Keep the first page of a user's rooms, unless a change is under way."""
    upstash.evaluate(_KEEP, _keys(user_id), [limit, msgspec.json.encode(page).decode(), LIFETIME])


def drop_rooms(user_id: str) -> None:
    """Forget a user's list; to be called before the change that it would not show."""
    upstash.evaluate(_DROP, _keys(user_id)[:2], [HOLD])
