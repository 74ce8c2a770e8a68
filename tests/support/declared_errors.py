"""A check that the integration tests provoke every error that an endpoint declares.

`note` records each error that a test gets. A declared error that no test got fails a run of all
integration tests.
"""

from collections.abc import Iterable

recorded: set[tuple[str, ...]] = set()
"""The route and the code of each error that a test of this process got."""


NOT_PROVOKED_YET = {
    ("POST /chatroom/{id}/message/{messageId}/retry", "identity-not-proven"),
    ("POST /chatroom/{id}/message/{messageId}/retry", "spending-limit"),
    ("POST /chatroom/{id}/message/{messageId}/retry", "service-limit"),
    ("POST /chatroom/{id}/message/{messageId}/retry", "too-many-in-flight"),
}
"""Declared errors that no test provokes so far; this set may only shrink."""


def note(route: str, code: str) -> None:
    """Record that a test got the error of this code from a route."""
    recorded.add((route, code))


def never_provoked(provoked: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the declared errors that are not among those provoked, one line each."""
    from infra.openapi.endpoints import endpoints

    known = {*provoked, *NOT_PROVOKED_YET}
    return [
        f"{endpoint.route} declares {error.__name__}, and no test provokes {error.code}"
        for endpoint in endpoints()
        for error in endpoint.declared
        if (endpoint.route, error.code) not in known
    ]
