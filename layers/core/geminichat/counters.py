"""Counters in Redis, in front of the tables: most refusals then cost no write.

Redis may only refuse what the table would refuse. So a refusal is confirmed against the table
before a user sees it, and what the table says is remembered; an admission is only a forecast, the
transaction that stores the prompt has the last word.
"""

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from geminichat import cache, config, metrics, upstash
from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.domain.quota import DAILY_PROMPTS, Allowance
from geminichat.errors import QuotaExceeded

KEPT = 600
"""Seconds for which a plan and a count are believed before the table is read again."""
CONFIRMED = 5
"""Seconds for which a refusal that the table confirmed is not confirmed again."""

_ADMIT = (
    cache.ANNOUNCE
    + """
announce(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local quota, confirmed = KEYS[3], KEYS[4]
redis.call('EXPIRE', quota, ARGV[5], 'LT')
local seen = redis.pcall('HMGET', quota, 'plan', 'counted')
if seen.err then redis.call('DEL', quota) return {'unknown'} end
local plan, counted = seen[1], seen[2]
local whole = counted and #counted < 9 and string.match(counted, '^%d+$')
if not whole or (plan ~= 'basic' and plan ~= 'pro') then
  redis.call('DEL', quota)
  return {'unknown'}
end
if plan == 'basic' and tonumber(counted) >= tonumber(ARGV[4]) then
  local note = redis.pcall('GET', confirmed)
  if type(note) == 'table' then note = false end
  return {'refused', note, tonumber(counted)}
end
return {'admitted', plan, redis.call('HINCRBY', quota, 'counted', 1)}
"""
)

_LEARN = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'plan', ARGV[1], 'counted', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('DEL', KEYS[2])
if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5]) end
return 1
"""

_UNDO = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HINCRBY', KEYS[1], 'counted', -1) end
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
    forgotten. Raises QuotaExceeded.
    """
    try:
        allowance = _admit(user_id, now, read_table, change)
    except QuotaExceeded:
        metrics.emit(PromptsRefused=1)
        raise
    try:
        yield allowance
    except QuotaExceeded:
        metrics.emit(PromptsRefused=1)
        forget(user_id, now)
        raise
    except Exception:
        upstash.evaluate(_UNDO, _keys(user_id, allowance.day)[:1], [])
        raise
    metrics.emit(PromptsAccepted=1)


def _admit(
    user_id: str, now: datetime, read_table: Callable[[str, datetime], Allowance], change: str
) -> Allowance:
    day = times.day(now)
    answer = upstash.evaluate(
        _ADMIT,
        [*cache.keys(user_id), *_keys(user_id, day)],
        [*cache.announcement(change), DAILY_PROMPTS[Plan.BASIC] or 0, KEPT],
    )
    match answer:
        case ["admitted", "basic" | "pro" as plan, int(counted)]:
            return Allowance(
                user_id=user_id,
                day=day,
                plan=Plan(plan),
                counted=max(1, counted),
                now=now,
                token_limit=config.number("PRO_DAILY_TOKENS"),
            )
        case ["refused", str(note), int(counted)] if _holds(note, user_id, now):
            raise Allowance(
                user_id=user_id, day=day, plan=Plan.BASIC, counted=counted, now=now
            ).refusal()
    known = read_table(user_id, now)
    if known.out_of_tokens:  # of which Redis knows nothing: it goes on asking the table
        raise known.refusal()
    if known.exhausted:
        learn(known, confirmed=True)
        raise known.refusal()
    admitted = known.with_one_more()
    if answer is not None:
        learn(admitted)
    return admitted


def learn(known: Allowance, *, confirmed: bool = False) -> None:
    """Put what the table says in the place of what Redis believed."""
    note = _note(known.user_id, known.now) if confirmed else ""
    upstash.evaluate(
        _LEARN,
        _keys(known.user_id, known.day),
        [known.plan.value, known.counted, KEPT, note, CONFIRMED],
    )


def _note(user_id: str, now: datetime) -> str:
    """Write down that the table refused the user now, so that Redis cannot make it up."""
    signing = config.signing_keys()
    moment = times.text(now)
    mac = hmac.digest(
        signing.keys[signing.current], f"refused {user_id} {moment}".encode(), "sha256"
    )
    return f"{signing.current} {moment} {mac.hex()}"


def _holds(note: str, user_id: str, now: datetime) -> bool:
    """Say whether the note is ours, and fresh."""
    kid, _, rest = note.partition(" ")
    moment, _, mac = rest.partition(" ")
    key = config.signing_keys().keys.get(kid, b"")
    true = hmac.digest(key, f"refused {user_id} {moment}".encode(), "sha256").hex()
    if not key or not hmac.compare_digest(mac.encode(), true.encode()):
        return False
    refused = times.parse(moment)
    fresh = timedelta(0) <= now - refused < timedelta(seconds=CONFIRMED)
    return fresh and times.day(refused) == times.day(now)


def given_back(user_id: str, day: str) -> None:
    """Forget what was counted on a day in which a prompt has failed: the table counts one less."""
    upstash.evaluate(_FORGET, _keys(user_id, day), [])


def forget(user_id: str, now: datetime) -> None:
    """Forget a user's plan and count: the next prompt reads them from the table."""
    given_back(user_id, times.day(now))


def _keys(user_id: str, day: str) -> list[str]:
    return [f"quota:{user_id}:{day}", f"confirmed:{user_id}:{day}"]
