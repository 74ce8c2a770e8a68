"""Guesses at passwords, counted in Redis per identity and per address: pauses that grow.

A guess is counted before its password is looked at, so that guesses in parallel share what is free;
a right one takes its count back. Without Redis the hash's own cost and the gateway's throttle
remain.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from geminichat import upstash
from geminichat.domain import hashing
from geminichat.domain.addresses import network
from geminichat.domain.identities import Identity
from geminichat.errors import InvalidCredentials, TooManyRequests

FREE = 5
FREE_FROM_ADDRESS = 20
"""Guesses before the first pause; behind one address there may be many people."""
LONGEST = 300
LONGEST_FROM_ADDRESS = 900
"""Seconds. A pause for an identity is short enough that nobody is locked out by a stranger."""
KEPT = 3600
"""Seconds without a guess after which the count begins anew."""

_ADMIT = """
local function number(reply) return type(reply) == 'number' and reply or 0 end
local wait = 0
for i = 1, 3, 2 do wait = math.max(wait, number(redis.pcall('PTTL', KEYS[i + 1]))) end
if wait > 0 then return {wait, number(tonumber(redis.pcall('GET', KEYS[1])))} end
local counted = {}
for i = 1, 3, 2 do
  local n = redis.pcall('INCR', KEYS[i])
  if type(n) ~= 'number' then redis.call('SET', KEYS[i], '1') n = 1 end
  redis.call('EXPIRE', KEYS[i], ARGV[5])
  local over = n - tonumber(ARGV[i])
  if over > 0 then
    local pause = math.min(2 ^ math.min(over - 1, 20), tonumber(ARGV[i + 1]))
    redis.call('SET', KEYS[i + 1], '1', 'EX', pause)
  end
  counted[i] = n
end
return {0, counted[1]}
"""

_FORGIVE = """
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4])
if (tonumber(redis.pcall('GET', KEYS[3])) or 0) > 1 then redis.call('DECR', KEYS[3])
else redis.call('DEL', KEYS[3]) end
return 1
"""


@dataclass
class Guess:
    """A guess at a password."""

    identity: Identity
    source: str
    counted: int | None = None
    """Guesses at this identity that were not right, this one included; None without Redis."""

    @property
    def headers(self) -> Mapping[str, str]:
        """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
        if self.counted is None:
            return {}
        return {
            "ratelimit-policy": f'"passwords";q={FREE};w={KEPT}',
            "ratelimit": f'"passwords";r={max(0, FREE - self.counted)};t={KEPT}',
        }


@contextmanager
def counted(identity: Identity, source: str) -> Iterator[Guess]:
    """Count a guess from an address while the body looks at it, by raising InvalidCredentials.

    One that was right is taken back, and those that were wrong before it are forgotten. Raises
    TooManyRequests.
    """
    guess = Guess(identity, source)
    _admit(guess)
    try:
        yield guess
    except InvalidCredentials as error:
        error.headers = {**error.headers, **guess.headers}
        raise
    upstash.evaluate(_FORGIVE, _keys(identity, source), [])
    guess.counted = None if guess.counted is None else 0


def confirm(identity: Identity, source: str, given: str | None, password_hash: str | None) -> None:
    """Want the current password of an account that has one, and none of one that has none.

    Raises InvalidCredentials, TooManyRequests.
    """
    if given is None and password_hash is None:
        return
    with counted(identity, source):
        if not hashing.matches(given or "", password_hash):
            raise InvalidCredentials("The current password is wrong.")


def _admit(guess: Guess) -> None:
    answer = upstash.evaluate(
        _ADMIT,
        _keys(guess.identity, guess.source),
        [FREE, LONGEST, FREE_FROM_ADDRESS, LONGEST_FROM_ADDRESS, KEPT],
    )
    match answer:
        case [int(wait), int(number)] if wait > 0:
            guess.counted = max(number, FREE)
            seconds = -(-wait // 1000)
            raise TooManyRequests(
                f"Too many wrong passwords. Try again in {seconds} s, or log in with a code.",
                retry_after=seconds,
                headers=guess.headers,
            )
        case [0, int(number)]:
            guess.counted = number


def forget(identity: Identity) -> None:
    """Forget the guesses at an identity's password: it has another one now."""
    upstash.evaluate("return redis.call('DEL', KEYS[1], KEYS[2])", _keys(identity, "")[:2], [])


def _keys(identity: Identity, source: str) -> list[str]:
    who = hashlib.sha256(identity.key.encode()).hexdigest()[:32]
    where = network(source)
    return [f"guesses:{who}", f"pause:{who}", f"guesses-from:{where}", f"pause-from:{where}"]
