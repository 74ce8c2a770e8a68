"""GET /console/{file}: the assets of the chat console.

Our own modules are joined into one script, so that a browser makes few requests and never mixes
modules of two deployments. A library's file never changes: its name includes the version.
"""

import functools
import re
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from geminichat import config
from geminichat.api import Request, Response, document, endpoint
from geminichat.errors import NotFound

FOLDER = Path(__file__).parent
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
IMPORT = re.compile(r'^import [^;]* from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?:\{[^}]*\};\n)?", re.MULTILINE)


@endpoint(public=True, errors=[NotFound])
def handler(request: Request) -> Response:
    """Answer 200 with the file, or 304 if the client has it."""
    name = request.path["file"]
    if not config.has_console() or name not in files():
        raise NotFound()
    suffix = Path(name).suffix
    is_library = suffix == ".mjs"
    headers = {
        "content-type": TYPES[suffix],
        "cache-control": "public, max-age=31536000, immutable" if is_library else "no-cache",
    }
    return document(files()[name], headers, request)


def join(modules: Mapping[str, str]) -> str:
    """Join ES modules into one; each module comes after the modules that it imports.

    All modules share one scope: a name that two of them define is a syntax error in the browser.
    """
    order = TopologicalSorter({name: IMPORT.findall(text) for name, text in modules.items()})
    return "\n".join(EXPORT.sub("", IMPORT.sub("", modules[name])) for name in order.static_order())


@functools.cache
def files() -> dict[str, str]:
    """Return the text of each file by its name."""
    return {**_read(FOLDER), **_read(FOLDER / "vendor"), "start.js": join(modules())}


def modules() -> dict[str, str]:
    """Return the text of each of our modules by its name."""
    return {name.removesuffix(".js"): text for name, text in _read(FOLDER / "modules").items()}


def _read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix in TYPES}
