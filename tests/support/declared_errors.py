"""A check that the integration tests provoke every error that an endpoint declares.

`note` records each error that a test gets. A run of all integration tests fails if one of the
declared errors is not among the records.
"""

from collections.abc import Iterable

recorded: set[tuple[str, ...]] = set()
"""The route and the code of each error that a test of this process got."""


def note(route: str, code: str) -> None:
    """Record that a test got this error code from a route."""
    recorded.add((route, code))


def list_unprovoked(provoked: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a line for each declared error that no test provoked."""
    from infra.openapi.endpoints import endpoints

    known = set(provoked)
    return [
        f"{endpoint.route} declares {error.__name__}, and no test provokes {error.code}"
        for endpoint in endpoints()
        for error in endpoint.declared
        if (endpoint.route, error.code) not in known
    ]
