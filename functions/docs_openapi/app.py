"""GET /openapi.json: the OpenAPI 3.1 document of this API, made by `make openapi`."""

import functools
from pathlib import Path

from geminichat.api import Request, Response, document, endpoint

HEADERS = {"content-type": "application/json", "cache-control": "public, max-age=300"}


@endpoint(public=True)
def handler(request: Request) -> Response:
    """Answer 200 with the document, or 304 if the client has it."""
    return document(openapi(), HEADERS, request)


@functools.cache
def openapi() -> str:
    return Path(__file__).with_name("openapi.json").read_text()
