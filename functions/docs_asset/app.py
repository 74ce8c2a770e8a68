"""GET /docs/{file}: the assets of the documentation page, a Postman collection, examples."""

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
FILES = {
    path.name: path
    for path in Path(__file__).parent.iterdir()
    if path.suffix in TYPES and path != Path(__file__)
}


@endpoint(public=True, errors=[NotFound])
def handler(request: Request) -> Response:
    """Answer 200 with the file, or 304 if the client has it."""
    path = FILES.get(request.path["file"])
    if path is None:
        raise NotFound()
    headers = {
        "content-type": TYPES[path.suffix],
        "cache-control": "public, max-age=3600",
    }
    return document(_text(path), headers, request)


@functools.cache
def _text(path: Path) -> str:
    return path.read_text()
