"""Counters in Redis, in front of the tables: most refusals then cost no write.

Redis may only refuse what the table would refuse. So a refusal is confirmed against the table
before a user sees it, and what the table says is remembered; an admission is only a forecast, the
transaction that stores the prompt has the last word.
"""

from collections.abc import Callable
from datetime import datetime

from geminichat import cache, upstash
from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.domain.quota import DAILY_PROMPTS, Allowance

KEPT = 600
"""Seconds for which a plan and a count are believed before the table is read again."""
CONFIRMED = 5
"""Seconds for which a refusal that the table confirmed is not confirmed again."""

_ADMIT = """
local hold, quota, confirmed = KEYS[1], KEYS[2], KEYS[3]
redis.call('DEL', KEYS[4])
redis.call('SET', hold, '1', 'EX', ARGV[1])
local seen = redis.pcall('HMGET', quota, 'plan', 'counted')
if seen.err then redis.call('DEL', quota) return {'unknown'} end
local plan, counted = seen[1], tonumber(seen[2])
if not plan or not counted then return {'unknown'} end
local limit = tonumber(ARGV[2])
if plan == 'basic' and counted >= limit then
  if redis.call('EXISTS', confirmed) == 1 then return {'refused', plan, counted} end
  return {'doubted', plan, counted}
end
return {'admitted', plan, redis.call('HINCRBY', quota, 'counted', 1)}
"""

_LEARN = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'plan', ARGV[1], 'counted', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
if tonumber(ARGV[4]) > 0 then redis.call('SET', KEYS[2], '1', 'EX', ARGV[4]) end
return 1
"""


def admit_prompt(user_id: str, now: datetime, read_table: Callable[[], Allowance]) -> Allowance:
    """Count one more prompt if the plan allows it, and return the allowance with it counted.

    Without Redis, or where Redis does not know or refuses, `read_table` decides. Raises
    QuotaExceeded.
    """
    day = times.day(now)
    limit = DAILY_PROMPTS[Plan.BASIC]
    answer = upstash.evaluate(
        _ADMIT,
        [cache.hold_key(user_id), *_keys(user_id, day), cache.rooms_key(user_id)],
        [cache.HOLD, limit or 0],
    )
    match answer:
        case ["admitted", "basic" | "pro" as plan, int(counted)]:
            return Allowance(
                user_id=user_id, day=day, plan=Plan(plan), counted=max(1, counted), now=now
            )
        case ["refused", "basic", int(counted)]:
            refused = Allowance(
                user_id=user_id, day=day, plan=Plan.BASIC, counted=counted, now=now
            )
            raise refused.refusal()
    known = read_table()
    if known.exhausted:
        learn(known, confirmed=True)
        raise known.refusal()
    admitted = Allowance(
        user_id=user_id, day=day, plan=known.plan, counted=known.counted + 1, now=now
    )
    if answer is not None:
        learn(admitted)
    return admitted


def learn(known: Allowance, *, confirmed: bool = False) -> None:
    """Put what the table says in the place of what Redis believed."""
    upstash.evaluate(
        _LEARN,
        _keys(known.user_id, known.day),
        [known.plan.value, known.counted, KEPT, CONFIRMED if confirmed else 0],
    )


def _keys(user_id: str, day: str) -> list[str]:
    return [f"quota:{user_id}:{day}", f"confirmed:{user_id}:{day}"]
