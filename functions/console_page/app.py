"""GET /: the chat console, a page that is a client of this API."""

import base64
import functools
import hashlib
import re
from pathlib import Path

from geminichat import config
from geminichat.api import Request, Response, document, endpoint
from geminichat.errors import NotFound

IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
"""The page's only inline script. The content security policy contains the hash of this script."""


@endpoint(public=True, errors=[NotFound])
def handler(request: Request) -> Response:
    """Answer 200 with the page, or 304 if the client has it."""
    if not config.has_console():
        raise NotFound()
    headers = {**HEADERS, "content-security-policy": policy(sockets=config.setting("LIVE_URL"))}
    return document(page(), headers, request)


@functools.cache
def page() -> str:
    return Path(__file__).with_name("page.html").read_text()


def policy(sockets: str) -> str:
    """Return the content security policy; `sockets` is a WebSocket URL, or "" for this origin."""
    digests = (hashlib.sha256(text.encode()).digest() for text in IMPORT_MAP.findall(page()))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return POLICY.format(hashes=hashes, sockets=sockets)


POLICY = (
    "default-src 'none'; script-src 'self' {hashes}; style-src 'self'; img-src 'self'; "
    "connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
"""Allow only this origin, and the WebSocket API's URL if its origin is another one.

Only DOMPurify may create HTML from strings.
"""

HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "referrer-policy": "no-referrer",
}
