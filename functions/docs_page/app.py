"""GET /docs: a page that shows the OpenAPI document and can call the API."""

import functools
from pathlib import Path

from geminichat.api import Request, Response, document, endpoint

HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "public, max-age=300",
    # The page may load files from its own origin only, and may call only that origin.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@endpoint(public=True)
def handler(request: Request) -> Response:
    """Answer 200 with the page, or 304 if the client has it."""
    return document(page(), HEADERS, request)


@functools.cache
def page() -> str:
    return Path(__file__).with_name("page.html").read_text()
