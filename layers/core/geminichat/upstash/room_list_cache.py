"""The cache of a user's list of rooms: ten minutes in Redis.

A *change notice* is stored before a change to the list is written to the table. The notice deletes
the cached list. After that, a list is cached only if it shows the change, if the change cannot
alter it, or if the notice has expired. A request that read the table before the notice caches
nothing. So a cached list shows every change that was answered before, even if a caller is slow or
dies. Only if Redis was unreachable, a change has no notice and may be missing for ten minutes.

Only one page per user is cached: the first page with the last requested limit. A MAC protects the
page and binds it to the user.
"""

import time

import msgspec

from geminichat import metrics
from geminichat.domain.rooms import RoomPage, RoomSummary
from geminichat.upstash import redis, signed_values
from geminichat.upstash.change_notices import NOTICE_LIFETIME, VERSION, list_keys

LIFETIME = 600
"""Seconds for which a list is cached."""
FILL_TIMEOUT = 2
"""Seconds for which one request fills the cache while other requests wait."""
MAX_SIZE = 24_000
"""Bytes of the largest page that is cached."""

_LOOK_UP = """
redis.call('EXPIRE', KEYS[1], ARGV[3], 'LT')
local page = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(page) == 'string' then return {'hit', page} end
if type(page) == 'table' and page.err then redis.call('DEL', KEYS[1]) end
local notices = redis.pcall('HGETALL', KEYS[2])
if notices.err then redis.call('DEL', KEYS[2]) return {'wait'} end
if #notices > 2 then return {'fill', notices} end
redis.call('EXPIRE', KEYS[3], ARGV[2], 'LT')
if redis.call('SET', KEYS[3], '1', 'NX', 'EX', ARGV[2]) then return {'fill', notices} end
return {'wait'}
"""

_STORE = """
redis.call('DEL', KEYS[3])
for i = 5, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
local latest = redis.call('HGET', KEYS[2], 'latest') or ''
if latest ~= ARGV[4] or ARGV[2] == '' then return 0 end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3], 'LT')
return 1
"""


class Notices(msgspec.Struct, frozen=True):
    """The change notices that a request found in Redis; `store_rooms` needs them."""

    latest: str
    """The latest notice, or ""."""
    pending: list[str]
    """Notices of changes that were not seen in the table yet."""
    expired: list[str]
    """Notices of changes by functions that must have timed out by now."""


def _keys(user_id: str) -> list[str]:
    return [*list_keys(user_id), f"rooms-fill:{VERSION}:{user_id}"]


def _context(user_id: str, limit: int) -> str:
    return f"rooms {user_id} {limit}"


def find_rooms(user_id: str, limit: int) -> tuple[RoomPage | None, Notices | None]:
    """Return the cached first page of a user's rooms, or the notices to pass to `store_rooms`.

    On a miss, the first caller gets the notices and reads the table. All other callers wait up to
    two seconds for the page that the first caller caches. Returns neither a page nor notices if
    Redis is unreachable, or if no page was cached in this time.
    """
    deadline = time.monotonic() + FILL_TIMEOUT
    pause = 0.025
    notices = None
    while True:
        match redis.evaluate(_LOOK_UP, _keys(user_id), [limit, FILL_TIMEOUT, LIFETIME]):
            case ["hit", str(page)]:
                signed = signed_values.verify(_context(user_id, limit), page)
                if signed is None:
                    drop_list(user_id)
                    break
                metrics.emit(CacheHits=1)
                return msgspec.json.decode(signed, type=RoomPage), None
            case ["fill", list(fields)]:
                notices = _parse_notices([str(field) for field in fields])
                break
            case ["wait"] if time.monotonic() < deadline:
                time.sleep(pause)
                pause = min(pause * 2, 0.4)
            case _:
                break
    metrics.emit(CacheMisses=1)
    return None, notices


def store_rooms(user_id: str, limit: int, page: RoomPage, notices: Notices | None) -> None:
    """Cache the first page of a user's rooms, unless a pending change could alter it.

    `notices` are those that `find_rooms` returned; without them nothing is stored.
    """
    if notices is None:
        return
    value = ""  # stores nothing, but ends the wait of other readers
    encoded = msgspec.json.encode(page)
    if len(encoded) <= MAX_SIZE and all(_is_unaffected(page, one) for one in notices.pending):
        value = signed_values.sign(_context(user_id, limit), encoded.decode())
    seen = [notice for notice in notices.pending if _has_change(page, notice)]
    redis.evaluate(
        _STORE,
        _keys(user_id),
        [limit, value, LIFETIME, notices.latest, *notices.expired, *seen],
    )


def drop_list(user_id: str) -> None:
    """Delete a user's cached list."""
    redis.evaluate("return redis.call('DEL', KEYS[1])", list_keys(user_id)[:1], [])


def _parse_notices(fields: list[str]) -> Notices:
    announced = dict(zip(fields[::2], fields[1::2], strict=False))
    latest = announced.pop("latest", "")
    oldest = time.time() - NOTICE_LIFETIME
    expired = [notice for notice, at in announced.items() if at.isdecimal() and int(at) < oldest]
    pending = [notice for notice in announced if notice not in expired]
    return Notices(latest=latest, pending=pending, expired=expired)


def _has_change(page: RoomPage, notice: str) -> bool:
    """Return whether a page proves that the change of a notice was written."""
    kind, room_id, _, moment = _parts(notice)
    room = next((room for room in page.chatrooms if room.id == room_id), None)
    match kind, room:
        case "created", RoomSummary():
            return True
        case "active", RoomSummary(updated_at=at):
            return at >= moment
        case "changed", RoomSummary(updated_at=at):
            return at == moment  # a later time does not prove that this change was written
        case "deleted", None:
            return page.next_cursor is None
    return False


def _is_unaffected(page: RoomPage, notice: str) -> bool:
    """Return whether a page stays correct when a pending change is written."""
    kind, room_id, _, moment = _parts(notice)
    if _has_change(page, notice):
        return True
    absent = bool(page.chatrooms) and all(room.id != room_id for room in page.chatrooms)
    match kind:
        case "created" | "active" | "changed":
            full = page.next_cursor is not None
            return full and absent and moment < page.chatrooms[-1].updated_at
        case "deleted" | "titled":
            return absent
    return False


def _parts(notice: str) -> list[str]:
    """Return a notice's kind, room, random part and time; a missing part is empty."""
    return [*notice.split(" "), "", "", ""][:4]
