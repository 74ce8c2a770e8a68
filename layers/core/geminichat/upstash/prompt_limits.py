"""Prompt counts in Redis: most refusals need no read of the usage table.

Redis refuses only prompts that the table refuses too. The usage table confirms the first refusal,
and a signed note of the refusal is stored in Redis. While the note is fresh, Redis refuses without
the table. An admission is only a forecast: the transaction that stores the prompt decides.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from geminichat import config
from geminichat.domain import times
from geminichat.domain.plans import Plan
from geminichat.domain.quota import DAILY_PROMPTS, Allowance
from geminichat.upstash import change_notices, redis, signed_values

VERSION = 2
"""The version in the Redis keys: code of an older version uses other keys."""

LIFETIME = 600
"""Seconds for which a cached plan and count are used before the table is read again."""
NOTE_LIFETIME = 5
"""Seconds for which Redis refuses without the table, after the table has confirmed a refusal."""

_ADMIT = (
    change_notices.ANNOUNCE
    + """
announce(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local quota, refusal, burst = KEYS[3], KEYS[4], KEYS[5]
local daily, lifetime, most, seconds = tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7]
local has_burst = {basic = ARGV[8] == '1', pro = ARGV[9] == '1'}
local function whole(text)
  return type(text) == 'string' and #text < 9 and string.match(text, '^%d+$') and tonumber(text)
end
redis.call('EXPIRE', quota, lifetime, 'LT')
redis.call('EXPIRE', burst, seconds, 'LT')
local cached = redis.pcall('HMGET', quota, 'plan', 'counted')
local plan, counted = cached[1], whole(cached[2])
if not counted or (plan ~= 'basic' and plan ~= 'pro') then
  redis.call('DEL', quota)
  return {'unknown'}
end
local limited = has_burst[plan]
local sent = limited and whole(redis.pcall('GET', burst)) or 0
if (plan == 'basic' and counted >= daily) or (limited and sent >= most) then
  local note = redis.pcall('GET', refusal)
  if type(note) == 'table' then note = false end
  return {'refused', note, plan, counted, sent}
end
if limited then redis.call('SET', burst, sent + 1, 'EX', seconds) end
return {'admitted', plan, redis.call('HINCRBY', quota, 'counted', 1), sent + 1}
"""
)

_STORE = """
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


def admit(user_id: str, now: datetime, notice: str) -> Allowance | None:
    """Count one more prompt and return the new allowance, or None if only the table can decide.

    The same Redis call stores the change notice for the user's list of rooms. Raises
    TooManyRequests if a limit is reached and a fresh note confirms the refusal.
    """
    empty = Allowance(
        user_id=user_id,
        day=times.day(now),
        plan=Plan.BASIC,
        counted=0,
        now=now,
        burst=config.burst_limit(),
        plan_limits=config.plan_limits(),
        token_limit=config.number("PRO_DAILY_TOKENS"),
    )
    limits = [DAILY_PROMPTS[Plan.BASIC] or 0, LIFETIME, empty.burst.prompts, empty.burst.seconds]
    limits += [int(replace(empty, plan=plan).has_burst_limit) for plan in (Plan.BASIC, Plan.PRO)]
    answer = redis.evaluate(
        _ADMIT,
        [*change_notices.list_keys(user_id), *_all_keys(empty)],
        [*change_notices.announce_arguments(notice), *limits],
    )
    match answer:
        case ["admitted", "basic" | "pro" as plan, int(counted), int(sent)]:
            return replace(empty, plan=Plan(plan), counted=max(1, counted), sent=sent)
        case ["refused", str(note), "basic" | "pro" as plan, int(counted), int(sent)]:
            cached = replace(empty, plan=Plan(plan), counted=counted, sent=sent)
            if _is_genuine(note, cached):
                raise cached.refusal()
    return None


def undo(allowance: Allowance) -> None:
    """Subtract an admitted prompt from the counts, because it was not stored."""
    redis.evaluate(_UNDO, _all_keys(allowance), [])


def store(allowance: Allowance, *, refused: bool = False) -> None:
    """Replace the cached counts by the table's; if `refused`, also store a note of the refusal."""
    note = signed_values.sign(_refusal(allowance), times.text(allowance.now)) if refused else ""
    counts = [allowance.plan.value, allowance.counted, LIFETIME, note, NOTE_LIFETIME]
    redis.evaluate(_STORE, _all_keys(allowance), [*counts, allowance.sent, allowance.burst.seconds])


def forget_day(user_id: str, day: str) -> None:
    """Delete the cached count of a day after the table has refunded a prompt of that day."""
    redis.evaluate(_FORGET, _keys(user_id, day), [])


def forget(user_id: str, now: datetime) -> None:
    """Delete a user's cached plan and count: the next prompt reads them from the table."""
    forget_day(user_id, times.day(now))


def _is_genuine(note: str, cached: Allowance) -> bool:
    """Return whether a note is fresh and was signed for the limit that Redis reports."""
    moment = signed_values.verify(_refusal(cached), note)
    if moment is None:
        return False
    return timedelta(0) <= cached.now - times.parse(moment) < timedelta(seconds=NOTE_LIFETIME)


def _refusal(refused: Allowance) -> str:
    """Return the context of a refusal's note: the user, the limit and the limit's reset time."""
    limit = refused.reached
    resets = times.text(refused.reset_time(limit)) if limit else ""
    return f"refusal {refused.user_id} {limit} until {resets}"


def quota_key(user_id: str, day: str) -> str:
    """Return the Redis key of a user's plan and prompt count on a day."""
    return f"quota:{VERSION}:{user_id}:{day}"


def refusal_key(user_id: str, day: str) -> str:
    """Return the Redis key of the note that the table refused a user's prompt."""
    return f"refusal:{VERSION}:{user_id}:{day}"


def burst_key(user_id: str, window_start: datetime) -> str:
    """Return the Redis key of a user's prompt count in a burst window."""
    return f"burst:{VERSION}:{user_id}:{int(window_start.timestamp())}"


def _keys(user_id: str, day: str) -> list[str]:
    return [quota_key(user_id, day), refusal_key(user_id, day)]


def _all_keys(allowance: Allowance) -> list[str]:
    start = allowance.burst.window_start(allowance.now)
    return [*_keys(allowance.user_id, allowance.day), burst_key(allowance.user_id, start)]
