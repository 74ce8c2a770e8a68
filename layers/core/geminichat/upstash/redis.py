"""The one Upstash Redis client of a sandbox: short deadlines, no retries, and a circuit breaker.

Redis holds nothing that cannot be lost: when it fails, callers get None and do without.
"""

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
"""Seconds for one call; a healthy one takes a few milliseconds."""
REST = 5.0
"""Seconds for which Redis is not asked after it failed."""


class Redis(Commands):
    """Upstash-redis's commands over our own HTTP.

    Its own client takes no other one, has no deadline, and drops idle sockets after five seconds.
    """

    def __init__(self, url: str, token: str) -> None:
        """Speak to the database at this address."""
        self._url = url
        headers = make_headers(token, "base64", allow_telemetry=False)
        self._headers = {**headers, "content-type": "application/json"}

    def execute(self, command: list[Any]) -> Any:
        """Run one command. Raises UpstashError, wire.Failed, msgspec.DecodeError."""
        body = msgspec.json.encode(command)
        answer = http_client.post(
            self._url,
            self._headers,
            body,
            connect=TIMEOUT,
            read=TIMEOUT,
            idle=http_client.KEPT_FOR_ONE_TRY,
        )
        return format_response(msgspec.json.decode(answer.body), "base64")


_redis: tuple[str, Redis] | None = None
_resting_until = 0.0


def _client() -> Redis:
    global _redis
    token = secret("UPSTASH_TOKEN_PARAMETER")
    if _redis is None or _redis[0] != token:
        _redis = (token, Redis(setting("UPSTASH_URL"), token))
    return _redis[1]


def evaluate(script: str, keys: list[str], arguments: list[str | int]) -> Any:
    """Run a Lua script atomically and return its result, or None when Redis cannot be had."""
    global _resting_until
    if time.monotonic() < _resting_until:
        return None
    try:
        return _client().eval(script, keys=keys, args=[str(argument) for argument in arguments])
    except UpstashError as error:
        log.warning("redis refused", error=str(error)[:200])
        return None
    except Exception as error:  # its token included, nothing of it may be needed
        _resting_until = time.monotonic() + REST
        log.warning("redis unavailable", error=type(error).__name__)
        metrics.emit(RedisUnavailable=1)
        return None


def reachable() -> bool:
    """Say whether Redis answers now."""
    wake()
    return bool(evaluate("return 1", [], []) == 1)


def wake() -> None:
    """Ask Redis again at the next call, even if it failed a moment ago."""
    global _resting_until
    _resting_until = 0.0
