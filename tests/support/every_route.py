"""A request to every route that requires a token, with a body from the OpenAPI document."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from infra.openapi.endpoints import endpoints
from tests.support.document import DOCUMENT
from tests.support.http_api import Reply
from tests.support.lambdas import Api

ROUTES = sorted(
    (endpoint.method, endpoint.path) for endpoint in endpoints() if not endpoint.is_public
)
"""The template's routes that require a token, so that a new route cannot be forgotten."""


def body_of(method: str, path: str) -> Any:
    """Return the OpenAPI document's first example of a route's body, or None."""
    content = DOCUMENT["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    examples = content.get("application/json", {}).get("examples", {})
    return next((example["value"] for example in examples.values()), None)


def request_every_route(
    api: Api, token: Callable[[], str], room: str, message: str, at: datetime
) -> Iterator[tuple[str, Reply]]:
    """Send a request to every route of ROUTES, and yield each route with its reply."""
    for method, path in ROUTES:
        url = path.replace("{id}", room).replace("{messageId}", message)
        headers = {"idempotency-key": "once"} if url.endswith("/message") else {}
        body = body_of(method, path)
        if url.endswith("/fork"):
            body = {"upTo": message}
        yield (
            f"{method} {path}",
            api.request(method, url, json=body, token=token(), headers=headers, at=at),
        )
