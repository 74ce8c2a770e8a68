"""Guesses at passwords, counted in Redis per identity and per address: pauses that grow.

A guess is counted before its password is looked at, so that guesses in parallel share what is free;
a right one takes its count back. Without Redis the hash's own cost and the gateway's throttle
remain.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from geminichat.domain import hashing
from geminichat.domain.addresses import network
from geminichat.domain.identities import Identity
from geminichat.errors import InvalidCredentials, TooManyRequests
from geminichat.upstash import redis

FREE = 5
FREE_FROM_ADDRESS = 20
"""Guesses before the first pause; behind one address there may be many people."""
LONGEST = 300
LONGEST_FROM_ADDRESS = 900
"""Seconds. A pause for an identity is short enough that nobody is locked out by a stranger."""
KEPT = 3600
"""Seconds without a guess after which the count begins anew."""
POLICIES = {"passwords": FREE, "address": FREE_FROM_ADDRESS}
"""The limits as RateLimit-Policy names them."""

_ADMIT = """
local function number(reply) return type(reply) == 'number' and reply or 0 end
local answer, paused = {}, false
for i = 1, 3, 2 do
  local wait = number(redis.pcall('PTTL', KEYS[i + 1]))
  local kept = number(redis.pcall('PTTL', KEYS[i]))
  paused = paused or wait > 0
  for _, said in ipairs({wait, number(tonumber(redis.pcall('GET', KEYS[i]))), kept}) do
    table.insert(answer, said)
  end
end
if paused then return answer end
for i = 1, 3, 2 do
  local n = redis.pcall('INCR', KEYS[i])
  if type(n) ~= 'number' then redis.call('SET', KEYS[i], '1') n = 1 end
  redis.call('EXPIRE', KEYS[i], ARGV[5])
  local over = n - tonumber(ARGV[i])
  if over > 0 then
    local pause = math.min(2 ^ math.min(over - 1, 20), tonumber(ARGV[i + 1]))
    redis.call('SET', KEYS[i + 1], '1', 'EX', pause)
  end
  local first = i == 1 and 1 or 4
  answer[first], answer[first + 1], answer[first + 2] = 0, n, ARGV[5] * 1000
end
return answer
"""

_FORGIVE = """
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4])
if (tonumber(redis.pcall('GET', KEYS[3])) or 0) > 1 then redis.call('DECR', KEYS[3])
else redis.call('DEL', KEYS[3]) end
return 1
"""


class Count(NamedTuple):
    """Guesses that were not right, as one of the two limits has them."""

    policy: str
    free: int
    number: int
    seconds: int
    """Until the count begins anew."""

    def left(self) -> str:
        """Return what is left of the limit, as RateLimit says it."""
        return f'"{self.policy}";r={max(0, self.free - self.number)};t={self.seconds}'


class Guess(msgspec.Struct):
    """A guess at a password."""

    identity: Identity
    source: str
    counts: tuple[Count, ...] = ()
    """The identity's and the address's, this guess included; none without Redis."""

    @property
    def headers(self) -> Mapping[str, str]:
        """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10)."""
        if not self.counts:
            return {}
        policies = (f'"{count.policy}";q={count.free};w={KEPT}' for count in self.counts)
        return {
            "ratelimit-policy": ", ".join(policies),
            "ratelimit": ", ".join(count.left() for count in self.counts),
        }

    def note(self, answer: Sequence[int]) -> int:
        """Note what Redis counted; return for how many milliseconds to wait, 0 for not at all."""
        waits, numbers, kept = answer[::3], answer[1::3], answer[2::3]
        self.counts = tuple(
            Count(policy, free, max(number, free) if wait > 0 else number, -(-rest // 1000))
            for (policy, free), wait, number, rest in zip(
                POLICIES.items(), waits, numbers, kept, strict=True
            )
        )
        return max(waits)

    def was_right(self) -> None:
        """Take this guess back, and forget the ones at the identity before it."""
        redis.evaluate(_FORGIVE, _keys(self.identity, self.source), [])
        if self.counts:
            mine, here = self.counts
            self.counts = mine._replace(number=0), here._replace(number=here.number - 1)


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
    guess.was_right()


def confirm(
    identity: Identity, source: str, given: str | None, password_hash: str | None
) -> Mapping[str, str]:
    """Want the current password of an account that has one, and none of one that has none.

    Returns the headers of the limit. Raises InvalidCredentials, TooManyRequests.
    """
    if given is None and password_hash is None:
        return {}
    with counted(identity, source) as guess:
        if not hashing.matches(given or "", password_hash):
            raise InvalidCredentials("The current password is wrong.")
    return guess.headers


def _admit(guess: Guess) -> None:
    answer = redis.evaluate(
        _ADMIT,
        _keys(guess.identity, guess.source),
        [FREE, LONGEST, FREE_FROM_ADDRESS, LONGEST_FROM_ADDRESS, KEPT],
    )
    match answer:
        case [int(), int(), int(), int(), int(), int()]:
            wait = guess.note(answer)
        case _:
            return
    if wait > 0:
        seconds = -(-wait // 1000)
        raise TooManyRequests(
            f"Too many wrong passwords. Try again in {seconds} s, or log in with a code.",
            retry_after=seconds,
            headers=guess.headers,
        )


def forget(identity: Identity) -> None:
    """Forget the guesses at an identity's password: it has another one now."""
    redis.evaluate("return redis.call('DEL', KEYS[1], KEYS[2])", _keys(identity, "")[:2], [])


def _keys(identity: Identity, source: str) -> list[str]:
    who = hashlib.sha256(identity.key.encode()).hexdigest()[:32]
    where = network(source)
    return [f"guesses:{who}", f"pause:{who}", f"guesses-from:{where}", f"pause-from:{where}"]
