"""Counters in Redis, of a day and of a moment, in front of the tables: most refusals cost no write.

Redis may only refuse what the table would refuse. So a refusal is confirmed against the table
before a user sees it, and what the table says is remembered; an admission is only a forecast, the
transaction that stores the prompt has the last word.
"""

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from msgspec.structs import replace

from geminichat import config, metrics
from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.domain.quota import DAILY_PROMPTS, Allowance, Limit
from geminichat.errors import TooManyRequests
from geminichat.upstash import redis, room_list_cache

KEPT = 600
"""Seconds for which a plan and a count are believed before the table is read again."""
CONFIRMED = 5
"""Seconds for which a refusal that the table confirmed is not confirmed again."""

_ADMIT = (
    room_list_cache.ANNOUNCE
    + """
announce(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local quota, confirmed, burst = KEYS[3], KEYS[4], KEYS[5]
local daily, kept, most, seconds = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7]
local function whole(text)
  return type(text) == 'string' and #text < 9 and string.match(text, '^%d+$') and tonumber(text)
end
redis.call('EXPIRE', quota, kept, 'LT')
redis.call('EXPIRE', burst, seconds, 'LT')
local seen = redis.pcall('HMGET', quota, 'plan', 'counted')
local plan, counted = seen[1], whole(seen[2])
if not counted or (plan ~= 'basic' and plan ~= 'pro') then
  redis.call('DEL', quota)
  return {'unknown'}
end
local bounded = most > 0 and (plan == 'pro' or most < daily)
local sent = bounded and whole(redis.pcall('GET', burst)) or 0
if (plan == 'basic' and counted >= daily) or (bounded and sent >= most) then
  local note = redis.pcall('GET', confirmed)
  if type(note) == 'table' then note = false end
  return {'refused', note, plan, counted, sent}
end
if bounded then redis.call('SET', burst, sent + 1, 'EX', seconds) end
return {'admitted', plan, redis.call('HINCRBY', quota, 'counted', 1), sent + 1}
"""
)

_LEARN = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'plan', ARGV[1], 'counted', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('DEL', KEYS[2])
if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5]) end
redis.call('SET', KEYS[3], ARGV[6], 'EX', ARGV[7])
return 1
"""

_UNDO = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HINCRBY', KEYS[1], 'counted', -1) end
if redis.call('EXISTS', KEYS[3]) == 1 then redis.pcall('DECR', KEYS[3]) end
return 1
"""

_FORGET = "return redis.call('DEL', KEYS[1], KEYS[2])"


@contextmanager
def admission(
    user_id: str, now: datetime, read_table: Callable[[str, datetime], Allowance], change: str
) -> Iterator[Allowance]:
    """Count one more prompt while the body stores it, and give the allowance with it counted.

    In the same call the change that the prompt makes is announced to the cache of the user's list.

    Without Redis, or where Redis does not know or refuses, `read_table` decides. When the body
    fails, the count is taken back; when the table refuses after all, what Redis believed is
    forgotten. Raises TooManyRequests; QuotaExceeded where it is for the day.
    """
    try:
        allowance = _admit(user_id, now, read_table, change)
    except TooManyRequests:
        metrics.emit(PromptsRefused=1)
        raise
    try:
        yield allowance
    except TooManyRequests:
        metrics.emit(PromptsRefused=1)
        forget(user_id, now)
        raise
    except Exception:
        redis.evaluate(_UNDO, _all_keys(allowance), [])
        raise
    metrics.emit(PromptsAccepted=1)


def _admit(
    user_id: str, now: datetime, read_table: Callable[[str, datetime], Allowance], change: str
) -> Allowance:
    blank = Allowance(
        user_id=user_id,
        day=times.day(now),
        plan=Plan.BASIC,
        counted=0,
        now=now,
        burst=config.burst_limit(),
        token_limit=config.number("PRO_DAILY_TOKENS"),
    )
    limits = [DAILY_PROMPTS[Plan.BASIC] or 0, KEPT, blank.burst.prompts, blank.burst.seconds]
    answer = redis.evaluate(
        _ADMIT,
        [*room_list_cache.keys(user_id), *_all_keys(blank)],
        [*room_list_cache.announcement(change), *limits],
    )
    match answer:
        case ["admitted", "basic" | "pro" as plan, int(counted), int(sent)]:
            return replace(blank, plan=Plan(plan), counted=max(1, counted), sent=sent)
        case ["refused", str(note), "basic" | "pro" as plan, int(counted), int(sent)]:
            believed = replace(blank, plan=Plan(plan), counted=counted, sent=sent)
            if _holds(note, believed):
                raise believed.refusal()
    known = read_table(user_id, now)
    if known.reached is Limit.TOKENS:  # of which Redis knows nothing: it goes on asking the table
        raise known.refusal()
    if known.reached:
        learn(known, refused=True)
        raise known.refusal()
    admitted = known.with_one_more()
    if answer is not None:
        learn(admitted)
    return admitted


def learn(known: Allowance, *, refused: bool = False) -> None:
    """Put what the table says in the place of what Redis believed."""
    note = _note(known) if refused else ""
    believed: list[str | int] = [known.plan.value, known.counted, KEPT, note, CONFIRMED]
    burst = [known.sent, known.burst.seconds]
    redis.evaluate(_LEARN, _all_keys(known), [*believed, *burst])


def _note(refused: Allowance) -> str:
    """Write down that the table refused the user now, so that Redis cannot make it up."""
    signing = config.signing_keys()
    moment = times.text(refused.now)
    return f"{signing.current} {moment} {_mac(signing.keys[signing.current], refused, moment)}"


def _holds(note: str, believed: Allowance) -> bool:
    """Say whether the note is ours, fresh, and about the limit that Redis says is reached."""
    kid, _, rest = note.partition(" ")
    moment, _, mac = rest.partition(" ")
    key = config.signing_keys().keys.get(kid, b"")
    if not key or not hmac.compare_digest(mac.encode(), _mac(key, believed, moment).encode()):
        return False
    return timedelta(0) <= believed.now - times.parse(moment) < timedelta(seconds=CONFIRMED)


def _mac(key: bytes, refused: Allowance, moment: str) -> str:
    """Return what proves that we refused a user at a moment, for this limit and until its end."""
    limit = refused.reached
    ends = times.text(refused.ends(limit)) if limit else ""
    said = f"refused {refused.user_id} {limit} until {ends} at {moment}"
    return hmac.digest(key, said.encode(), "sha256").hex()


def given_back(user_id: str, day: str) -> None:
    """Forget what was counted on a day in which a prompt has failed: the table counts one less."""
    redis.evaluate(_FORGET, _keys(user_id, day), [])


def forget(user_id: str, now: datetime) -> None:
    """Forget a user's plan and count: the next prompt reads them from the table."""
    given_back(user_id, times.day(now))


def _keys(user_id: str, day: str) -> list[str]:
    return [f"quota:{user_id}:{day}", f"confirmed:{user_id}:{day}"]


def _all_keys(allowance: Allowance) -> list[str]:
    window = int(allowance.burst.began(allowance.now).timestamp())
    burst = f"burst:{allowance.user_id}:{window}"
    return [*_keys(allowance.user_id, allowance.day), burst]
