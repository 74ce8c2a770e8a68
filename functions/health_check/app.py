"""GET /health: whether the API is up; with `?deep=1`, also whether its dependencies are up."""

from collections.abc import Callable

from geminichat import config
from geminichat.api import Request, Response, endpoint, ok
from geminichat.config import VERSION
from geminichat.domain.health import Health
from geminichat.runtime import clock, log


@endpoint(public=True)
def handler(request: Request) -> Response[Health]:
    """Answer 200, or 503 if a dependency is down; `deep=1` checks the dependencies."""
    if request.query.get("deep") != "1":
        return ok(Health(status="ok", version=VERSION), "The API is up.")
    checks = {name: _check(name, check) for name, check in _dependencies().items()}
    healthy = all(result == "ok" for result in checks.values())
    return Response(
        200 if healthy else 503,
        "All dependencies are up." if healthy else "A dependency is down.",
        Health(status="ok" if healthy else "degraded", version=VERSION, dependencies=checks),
    )


def _dependencies() -> dict[str, Callable[[], bool]]:
    """Return the check of each dependency by name.

    The modules are imported here, since their imports would delay the plain check.
    """
    from geminichat.clients import prompt_queue
    from geminichat.tables import usage
    from geminichat.upstash import redis

    return {
        "secrets": lambda: bool(config.signing_keys().keys),
        "tables": lambda: bool(usage.read_allowance("health", clock.now())),
        "queue": prompt_queue.is_reachable,
        "redis": redis.is_reachable,
    }


def _check(name: str, check: Callable[[], bool]) -> str:
    """Return "ok" or "down"; only the log says why a dependency is down."""
    try:
        healthy = check()
    except Exception as error:
        log.warning("dependency", dependency=name, error=type(error).__name__)
        healthy = False
    return "ok" if healthy else "down"
