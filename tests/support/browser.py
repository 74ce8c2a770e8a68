"""A headless Chromium with its network requests and console messages."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless",
    "--no-sandbox",  # root has no sandbox
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # /dev/shm is small in a container
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The browser reaches only this machine: a request to any other host fails and is logged.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
PATIENCE = 60.0
"""Seconds to wait for a page, even on a busy machine."""


class Browser:
    """A browser window; `driver` is the Selenium driver that finds and clicks elements."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.until = WebDriverWait(driver, PATIENCE).until
        """Waits for a Selenium condition and returns its value."""

    def open(self, url: str) -> None:
        """Load a page and wait for its `load` event."""
        self.driver.get(url)

    def resize(self, width: int, height: int) -> None:
        """Set the screen size in CSS pixels; a screen may be narrower than any window."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def prefer(self, scheme: str) -> None:
        """Set the preferred colour scheme, "light" or "dark"."""
        preferred = {"name": "prefers-color-scheme", "value": scheme}
        self._cdp("Emulation.setEmulatedMedia", {"features": [preferred]})

    def go_offline(self, *, offline: bool = True) -> None:
        """Disconnect the window from the network, or connect it again."""
        throughput = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self._cdp("Network.emulateNetworkConditions", {"offline": offline, **throughput})

    def empty_cache(self) -> None:
        """Empty the cache."""
        self._cdp("Network.clearBrowserCache", {})

    def file_sizes(self) -> dict[str, int]:
        """Return the transferred bytes of each file of the page, by its URL."""
        script = (
            "return performance.getEntries().filter((each) => each.transferSize !== undefined)"
            ".map((each) => [each.name, each.transferSize])"
        )
        return dict(self.driver.execute_script(script))

    def take_screenshot(self) -> bytes:
        """Return a screenshot as a PNG."""
        return base64.b64decode(self._cdp("Page.captureScreenshot", {"format": "png"})["data"])

    def requests(self) -> list[str]:
        """Return the URLs requested since the previous call, failed requests included."""
        events = (json.loads(line["message"])["message"] for line in self._log("performance"))
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if url.startswith(("http:", "https:", "ws:", "wss:"))]

    def list_warnings(self) -> list[str]:
        """Return the console's warnings and errors since the previous call."""
        return [line["message"] for line in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return lines

    def _cdp(self, command: str, parameters: dict[str, Any]) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)


def is_installed() -> bool:
    """Return whether Chromium and its chromedriver are installed."""
    return bool(_find_chromium() and shutil.which("chromedriver"))


def _find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Open a browser with its profile in a new folder; skip the test if none is installed."""
    found = _find_chromium()
    driver = shutil.which("chromedriver")
    if not found or not driver:
        pytest.skip("no Chromium with its chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "WARNING"})
    chrome = webdriver.Chrome(options, Service(driver))
    try:
        browser = Browser(chrome)
        browser.open("about:blank")  # leave Chromium's page for new tabs
        browser.requests()
        yield browser
    finally:
        chrome.quit()
