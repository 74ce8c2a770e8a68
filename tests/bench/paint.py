"""The console in a browser: the time until it shows something, and the files that it loads.

The page and its assets come from their handlers through a server in this process, so the figures
include neither a network nor cold starts.
"""

import base64
import logging
import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from aiohttp import web

from infra.local.cloud.http_events import http_event, set_route
from tests.bench.host import BenchError
from tests.support.browser import Browser, is_installed, open_browser
from tests.support.lambdas import Context, handler_of
from tests.support.standins import run_app

LOADS = 9

SHOWN = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
READY = "return document.querySelector('input')"
"""The first field of the sign-in form, which the script adds."""
LOADED = "return performance.now()"


def measure(settings: Mapping[str, str]) -> Mapping[str, float]:
    """Return the median times to first paint and to the sign-in form, and the first load's size.

    `settings` is the environment of the handlers.
    """
    if not is_installed():
        raise BenchError("The console's first paint needs Chromium with its chromedriver.")
    logging.disable(logging.INFO)  # else the server logs a line per request
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, settings),
        run_app(_create_app) as url,
        open_browser(Path(folder) / "profile") as browser,
    ):
        browser.open(url)
        loads = [_load(browser, url) for _ in range(LOADS)]
        sizes = browser.file_sizes()
    return {
        "first paint, ms": statistics.median(paint for paint, _ in loads),
        "ready to sign in, ms": statistics.median(ready for _, ready in loads),
        "requests": len(sizes),
        "KB on the wire": sum(sizes.values()) / 1024,
    }


def _load(browser: Browser, url: str) -> tuple[float, float]:
    browser.empty_cache()
    browser.open(url)
    browser.until(lambda driver: driver.execute_script(READY))
    ready = float(browser.driver.execute_script(LOADED))
    shown = browser.until(lambda driver: driver.execute_script(SHOWN))
    return float(shown), ready


def _create_app() -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        event = http_event("GET", request.path, headers={"accept-encoding": "gzip"})
        is_asset = set_route(event, "GET /console/{file}")
        reply = handler_of("ConsoleAsset" if is_asset else "ConsolePage")(event, Context("console"))
        body = reply["body"]
        content = base64.b64decode(body) if reply.get("isBase64Encoded") else body.encode()
        return web.Response(status=reply["statusCode"], body=content, headers=reply["headers"])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    return app
