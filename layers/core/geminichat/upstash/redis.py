"""The Upstash Redis client of a sandbox: short deadlines, no retries, a circuit breaker.

Redis holds only data that may be lost: when it fails, callers get None and continue.
"""

import functools
import re
import time
from typing import Any

import msgspec

from geminichat import metrics
from geminichat.config import secret, setting
from geminichat.runtime import http_client, log, trimmed_imports

with trimmed_imports.trim_upstash_redis():
    from upstash_redis.commands import Commands
    from upstash_redis.errors import UpstashError
    from upstash_redis.http import format_response, make_headers

TIMEOUT = 0.5
"""Seconds for one call; a healthy Redis answers within a few milliseconds."""
BREAK = 5.0
"""Seconds for which no call is made after a failed call."""
UNAVAILABLE = r"\bexceeded\b|^(?:WRONGPASS|NOAUTH)\b"
"""Errors that make every command fail: Upstash's plan is used up, or the token is wrong."""


class Redis(Commands):
    """The commands of upstash-redis over our HTTP client.

    The library's own client has no deadline, cannot use another transport, and drops idle
    connections after five seconds.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        headers = make_headers(token, "base64", allow_telemetry=False)
        self._headers = {**headers, "content-type": "application/json"}

    def execute(self, command: list[Any]) -> Any:
        """Run one command. Raises UpstashError, RequestFailed, msgspec.DecodeError."""
        body = msgspec.json.encode(command)
        answer = http_client.request(
            "POST",
            self._url,
            self._headers,
            body,
            connect=TIMEOUT,
            read=TIMEOUT,
            idle=http_client.IDLE_LIMIT_ONE_ATTEMPT,
        )
        return format_response(msgspec.json.decode(answer.body), "base64")


_broken_until = 0.0
_client = functools.lru_cache(maxsize=1)(Redis)


def evaluate(script: str, keys: list[str], arguments: list[str | int]) -> Any:
    """Run a Lua script atomically and return its result, or None when Redis fails."""
    global _broken_until
    if time.monotonic() < _broken_until:
        return None
    try:
        client = _client(setting("UPSTASH_URL"), secret("UPSTASH_TOKEN_PARAMETER"))
        return client.eval(script, keys=keys, args=[str(argument) for argument in arguments])
    except Exception as error:  # the token's parameter may be missing, too
        reason = str(error)[:200] if isinstance(error, UpstashError) else type(error).__name__
        if isinstance(error, UpstashError) and not re.search(UNAVAILABLE, reason):
            log.warning("redis refused", error=reason)
            return None
        _broken_until = time.monotonic() + BREAK
        log.warning("redis unavailable", error=reason)
        metrics.emit(RedisUnavailable=1)
        return None


def is_reachable() -> bool:
    close_circuit()
    return bool(evaluate("return 1", [], []) == 1)


def close_circuit() -> None:
    """Allow the next call to reach Redis, even if a call has just failed."""
    global _broken_until
    _broken_until = 0.0
