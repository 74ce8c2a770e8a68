"""The cache of a user's list of rooms, ten minutes in Redis.

Ten minutes bound what a lost invalidation could cost; nothing else ends the list early but the
changes it shows. Every such change is announced *before* it is written to the table: that drops
the list, and nothing is kept until a reader has seen the change in the table, or so much time has
passed that it can come no more. A reader who looked before the announcement keeps nothing either.
So no list is ever older than a change that was answered, whoever is slow and whoever dies. Only a
change that Redis could not be told of may be missing, for what is left of the ten minutes.
"""

import secrets
import time
from datetime import datetime

import msgspec

from geminichat import metrics
from geminichat.domain import times
from geminichat.domain.rooms import Room, RoomPage
from geminichat.upstash import redis

LIFETIME = 600
ANNOUNCED = 15
"""Seconds; longer than the time-out of every function that reads or changes rooms."""
FILL = 2
"""Seconds for which one reader fills the cache while the others wait for it."""
LARGEST = 200_000
"""Bytes of a page that is kept; a longer one is read from the table each time."""

_LOOK = """
redis.call('EXPIRE', KEYS[1], ARGV[3], 'LT')
local page = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(page) == 'string' then return {'hit', page} end
if type(page) == 'table' and page.err then redis.call('DEL', KEYS[1]) end
local changes = redis.pcall('HGETALL', KEYS[2])
if changes.err then redis.call('DEL', KEYS[2]) return {'wait'} end
if #changes > 2 then return {'fill', changes} end
redis.call('EXPIRE', KEYS[3], ARGV[2], 'LT')
if redis.call('SET', KEYS[3], '1', 'NX', 'EX', ARGV[2]) then return {'fill', changes} end
return {'wait'}
"""

_KEEP = """
redis.call('DEL', KEYS[3])
for i = 5, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
local latest = redis.call('HGET', KEYS[2], 'latest') or ''
if latest ~= ARGV[4] or ARGV[2] == '' then return 0 end
if redis.call('HLEN', KEYS[1]) >= 5 then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3], 'LT')
return 1
"""

ANNOUNCE = """
local function announce(list, changes, change, seconds, now)
  redis.call('DEL', list)
  local many = redis.pcall('HLEN', changes)
  if type(many) == 'table' or many > 50 then
    redis.call('DEL', changes)
    redis.call('HSET', changes, 'more', now)
  end
  redis.call('HSET', changes, change, now, 'latest', change)
  redis.call('EXPIRE', changes, seconds)
end
"""
"""Lua that other scripts begin with; see `announce`."""


class Gap(msgspec.Struct, frozen=True):
    """What a reader has to know who is to fill the cache."""

    latest: str
    """The last change that was announced when the reader looked."""
    announced: list[str]
    """The changes that may come yet, or came and were not noticed."""
    over: list[str]
    """Those that were announced so long ago that they can come no more."""


def keys(user_id: str) -> list[str]:
    """Return the keys of a user's cached list, and of the changes that were announced of it."""
    return [f"rooms:{user_id}", f"rooms-changes:{user_id}"]


def _keys(user_id: str) -> list[str]:
    return [*keys(user_id), f"rooms-fill:{user_id}"]


def find_rooms(user_id: str, limit: int) -> tuple[RoomPage | None, Gap | None]:
    """Return the first page of a user's rooms if the cache has it, else the gap to fill.

    On a miss one caller is let through at once; those who come while it reads wait for what it
    puts here, at most two seconds, and so a stampede costs one read of the table. There is
    neither page nor gap where Redis cannot be had, or the wait was in vain.
    """
    deadline = time.monotonic() + FILL
    pause = 0.025
    gap = None
    while True:
        match redis.evaluate(_LOOK, _keys(user_id), [limit, FILL, LIFETIME]):
            case ["hit", str(page)]:
                try:
                    kept = msgspec.json.decode(page, type=RoomPage)
                except msgspec.DecodeError:
                    drop_list(user_id)
                    break
                metrics.emit(CacheHits=1)
                return kept, None
            case ["fill", list(changes)]:
                gap = _gap([str(field) for field in changes])
                break
            case ["wait"] if time.monotonic() < deadline:
                time.sleep(pause)
                pause = min(pause * 2, 0.4)
            case _:
                break
    metrics.emit(CacheMisses=1)
    return None, gap


def keep_rooms(user_id: str, limit: int, page: RoomPage, gap: Gap) -> None:
    """Keep the first page of a user's rooms, if no change announced so far makes it another."""
    encoded = msgspec.json.encode(page)
    if len(encoded) > LARGEST or not all(_lasts(page, change) for change in gap.announced):
        encoded = b""  # nothing to keep, but who waits for it is to know
    made = [change for change in gap.announced if _proves(page, change)]
    redis.evaluate(
        _KEEP,
        _keys(user_id),
        [limit, encoded.decode(), LIFETIME, gap.latest, *gap.over, *made],
    )


def announce(change: str, user_id: str) -> None:
    """Forget a user's list, and keep none until the change shows; call it before the change."""
    script = f"{ANNOUNCE} announce(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]) return 1"
    redis.evaluate(script, keys(user_id), announcement(change))


def announcement(change: str) -> list[str | int]:
    """Return what the Lua function `announce` takes beside the keys."""
    return [change, ANNOUNCED, int(time.time())]


def created(room_id: str, now: datetime) -> str:
    """Return the change by which there is a room."""
    return f"created {room_id} {secrets.token_hex(4)} {times.text(now)}"


def active(room_id: str, now: datetime) -> str:
    """Return the change by which a room was active at `now`, if not later."""
    return f"active {room_id} {secrets.token_hex(4)} {times.text(now)}"


def changed(room_id: str, now: datetime) -> str:
    """Return the change by which a room is another from `now` on."""
    return f"changed {room_id} {secrets.token_hex(4)} {times.text(now)}"


def deleted(room_id: str) -> str:
    """Return the change by which a room is gone."""
    return f"deleted {room_id} {secrets.token_hex(4)}"


def drop_list(user_id: str) -> None:
    """Forget a user's list, which is not one."""
    redis.evaluate("return redis.call('DEL', KEYS[1])", keys(user_id)[:1], [])


def _gap(fields: list[str]) -> Gap:
    announced = dict(zip(fields[::2], fields[1::2], strict=False))
    latest = announced.pop("latest", "")
    past = time.time() - ANNOUNCED
    over = [change for change, at in announced.items() if at.isdecimal() and int(at) < past]
    return Gap(latest=latest, announced=[one for one in announced if one not in over], over=over)


def _proves(page: RoomPage, change: str) -> bool:
    """Say whether a page proves that the change has been made."""
    kind, room_id, _, moment = _words(change)
    shown = next((room for room in page.chatrooms if room.id == room_id), None)
    match kind, shown:
        case "created", Room():
            return True
        case "active", Room(updated_at=at):
            return at >= moment
        case "changed", Room(updated_at=at):
            return at == moment  # a later one need not mean that this one is not to come
        case "deleted", None:
            return page.next_cursor is None
    return False


def _lasts(page: RoomPage, change: str) -> bool:
    """Say whether a page is the same after the change, should that be still to come."""
    kind, room_id, _, moment = _words(change)
    if _proves(page, change):
        return True
    elsewhere = bool(page.chatrooms) and all(room.id != room_id for room in page.chatrooms)
    match kind:
        case "created" | "active" | "changed":
            full = page.next_cursor is not None
            return full and elsewhere and moment < page.chatrooms[-1].updated_at
        case "deleted":
            return elsewhere
    return False


def _words(change: str) -> list[str]:
    """Return a change's kind, room, random part and moment; empty where it has none."""
    return [*change.split(" "), "", "", ""][:4]
