"""GET /docs/{file}: the documentation page's assets, a Postman collection and examples."""

import functools
from pathlib import Path

from geminichat.api import Request, Response, document, endpoint
from geminichat.errors import NotFound

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".py": "text/x-python; charset=utf-8",
}
COLLECTION = "postman.json"
EXAMPLE_URL = "http://127.0.0.1:8000"
"""The API's URL in the stored Postman collection; clients get this stage's URL instead."""


@endpoint(public=True, errors=[NotFound])
def handler(request: Request) -> Response:
    """Answer 200 with the file, or 304 if the client has it."""
    path = files().get(request.path["file"])
    if path is None:
        raise NotFound()
    headers = {
        "content-type": TYPES[path.suffix],
        "cache-control": "public, max-age=3600",
    }
    text = _text(path)
    if path.name == COLLECTION:
        text = text.replace(EXAMPLE_URL, request.origin)
    return document(text, headers, request)


@functools.cache
def files() -> dict[str, Path]:
    """Return the path of each file by its name."""
    here = Path(__file__)
    return {
        path.name: path for path in here.parent.iterdir() if path.suffix in TYPES and path != here
    }


@functools.cache
def _text(path: Path) -> str:
    return path.read_text()
