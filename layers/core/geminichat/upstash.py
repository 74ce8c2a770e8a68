"""The one Upstash Redis client of a sandbox: short deadlines, no retries, and a circuit breaker.

Redis holds nothing that cannot be lost: when it fails, callers get None and do without.
"""

import time
from typing import Any

import httpx
from upstash_redis import Redis
from upstash_redis.errors import UpstashError

from geminichat import metrics
from geminichat.config import secret, setting
from geminichat.log import logger

TIMEOUT = 0.5
"""Seconds for one call; a healthy one takes a few milliseconds."""
REST = 5.0
"""Seconds for which Redis is not asked after it failed."""

_redis: tuple[str, Redis] | None = None
_resting_until = 0.0


def _client() -> Redis:
    global _redis
    token = secret("UPSTASH_TOKEN_PARAMETER")
    if _redis is None or _redis[0] != token:
        redis = Redis(
            url=setting("UPSTASH_URL"),
            token=token,
            rest_retries=0,
            allow_telemetry=False,
        )
        # upstash-redis 1.8.0 takes no client; its own has no deadline and drops idle sockets
        # after five seconds.
        redis._http._client = httpx.Client(
            timeout=TIMEOUT, limits=httpx.Limits(keepalive_expiry=240)
        )
        _redis = (token, redis)
    return _redis[1]


def evaluate(script: str, keys: list[str], arguments: list[str | int]) -> Any:
    """Run a Lua script atomically and return its result, or None when Redis cannot be had."""
    global _resting_until
    if time.monotonic() < _resting_until:
        return None
    try:
        return _client().eval(script, keys=keys, args=[str(argument) for argument in arguments])
    except UpstashError as error:
        logger.warning("redis refused", extra={"error": str(error)[:200]})
        return None
    except Exception as error:  # its token included, nothing of it may be needed
        _resting_until = time.monotonic() + REST
        logger.warning("redis unavailable", extra={"error": type(error).__name__})
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
