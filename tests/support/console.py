"""The chat console in a browser, used by mouse or by keyboard."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support.browser import Browser
from tests.support.person import Person

NAMED = """
const dialog = document.querySelector("dialog[open]");
const nameOf = (e) => (e.getAttribute("aria-label") ?? e.labels?.[0]?.textContent ?? e.textContent);
return [...(dialog ?? document).querySelectorAll("a, button, input, select, textarea")].filter(
    (e) => nameOf(e).trim() === arguments[0] && e.checkVisibility() && !e.disabled);
"""
"""JavaScript that returns the usable controls with an accessible name."""

FOCUSED = "return document.activeElement === arguments[0]"
MOST_TABS = 80

WATCH_STATUS = """
const region = document.querySelector("[role=status]");
window.heard = [];
new MutationObserver(() => window.heard.push(region.textContent)).observe(
    region, { childList: true, characterData: true, subtree: true });
"""


class Console:
    """The console in a window; controls are named as a screen reader names them."""

    def __init__(self, browser: Browser, url: str, *, by_keyboard: bool = False) -> None:
        self.browser = browser
        self.driver = browser.driver
        self.url = url
        self._by_keyboard = by_keyboard

    def open(self, page: str = "") -> None:
        """Load a page of the console: "account", a chatroom by its id, or "" for the start."""
        self.browser.open(f"{self.url}/#/{f'chat/{page}' if page.startswith('r_') else page}")

    def sign_in(self, person: Person, page: str = "") -> None:
        """Open the console in a person's session, and wait until the person's data is loaded."""
        self.open(page)
        store = "sessionStorage.setItem('geminichat.refreshToken', arguments[0])"
        self.driver.execute_script(store, person.refresh_token)
        self.driver.refresh()
        self.find("Show the list of chats" if self._is_narrow() else "New chat")
        self.until(self._has_loaded, "the account, the models or the chats were not loaded")

    def find(self, name: str) -> WebElement:
        """Wait for a usable control with this name, and return the last such control."""
        found: list[WebElement] = self.until(lambda: self.controls(name), f"no control {name}")
        return found[-1]

    def controls(self, name: str) -> list[WebElement]:
        """Return the controls with this name that can be used now."""
        found: list[WebElement] = self.driver.execute_script(NAMED, name)
        return found

    def press(self, name: str) -> None:
        """Press a button or a link."""
        control = self.find(name)
        if self._by_keyboard:
            self._focus(control)
            control.send_keys(Keys.ENTER)
        else:
            control.click()

    def fill(self, name: str, text: str, *end: str) -> None:
        """Replace the text of a field, then press the keys in `end`."""
        field = self.find(name)
        if self._by_keyboard:
            self._focus(field)
        else:
            field.click()
        field.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE, text, *end)

    def ask(self, prompt: str) -> None:
        """Send a prompt."""
        self.fill("Your prompt", prompt, Keys.ENTER)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of the elements that a selector finds."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
        found: list[str] = self.driver.execute_script(script, selector)
        return found

    def wait_for_text(self, text: str, selector: str = "body") -> None:
        """Wait until a text is shown in one of the elements that a selector finds."""
        self.until(
            lambda: any(text in shown for shown in self.texts(selector)),
            f"{text} is not shown",
        )

    def until[T](self, condition: Callable[[], T], otherwise: str) -> T:
        """Wait until a condition holds, and return its value; a failure shows the page's text."""
        try:
            return self.browser.until(lambda _: condition())
        except TimeoutException as error:
            raise AssertionError(f"{otherwise}. The page: {self.texts('body')}") from error

    def replies(self) -> list[str]:
        """Return the texts of the finished replies."""
        return self.texts(".reply:not(.growing) .markdown")

    def wait_for_replies(self, many: int) -> str:
        """Wait until there are this many finished replies, and return the last one."""
        self.until(lambda: len(self.replies()) == many, f"not {many} replies")
        return self.replies()[-1]

    def watch_growth(self, times: int, *, beyond: str = "") -> str:
        """Wait until the growing reply has changed this many times, and return its text.

        With `beyond`, also wait until the reply is longer than this text.
        """
        seen = [""]

        def has_grown() -> bool:
            text = "".join(self.texts(".growing .markdown")).strip()
            if text != seen[-1]:
                assert text.startswith(seen[-1]), f"{seen[-1]} became {text}"
                seen.append(text)
            return len(seen) > times and len(text) > len(beyond)

        self.until(has_grown, f"the reply has not grown {times} times")
        return seen[-1]

    def watch_status(self) -> None:
        """Record every change of the status region from now on."""
        self.driver.execute_script(WATCH_STATUS)

    def list_announcements(self) -> list[str]:
        """Return the texts that the status region has shown since `watch_status`."""
        heard: list[str] = self.driver.execute_script("return window.heard")
        return heard

    def show_all(self, more: str, selector: str, least: int) -> None:
        """Press the button `more` until at least this many elements are shown."""
        self.find(more)
        while (shown := len(self.texts(selector))) < least:
            self.press(more)
            self.until(partial(self._has_more, selector, shown), f"{more} shows nothing more")

    def _has_more(self, selector: str, before: int) -> bool:
        return len(self.texts(selector)) > before

    def list_warnings(self) -> list[str]:
        """Return the browser's warnings and errors, but not those about refused connections."""
        expected = ("responded with a status of 4", "WebSocket connection to")
        return [
            line
            for line in self.browser.list_warnings()
            if not any(part in line for part in expected)
        ]

    def set_screen(self, width: int, scheme: str) -> None:
        """Set the size of the screen and the colour scheme."""
        self.browser.resize(width, 800)
        self.browser.prefer(scheme)

    def _focus(self, control: WebElement) -> None:
        for _ in range(MOST_TABS):
            if self.driver.execute_script(FOCUSED, control):
                return
            self.driver.switch_to.active_element.send_keys(Keys.TAB)
        raise AssertionError(f"{control.accessible_name} cannot be reached with Tab")

    def _has_loaded(self) -> bool:
        paths = {urlsplit(url).path for url in self.browser.file_sizes()}
        return {"/user/me", "/models", "/chatroom"} <= paths

    def _is_narrow(self) -> bool:
        return bool(self.driver.execute_script("return innerWidth <= 760"))


def violations(console: Console, axe: str) -> list[Any]:
    """Return the rule and the elements of each violation that axe-core finds in the page."""
    if not console.driver.execute_script("return Boolean(window.axe)"):
        console.driver.execute_script(axe)
    found = console.driver.execute_async_script(
        "const done = arguments[0]; axe.run().then(({ violations }) => done(violations.map("
        "(each) => [each.id, each.nodes.map((node) => node.html.slice(0, 200))])))"
    )
    return list(found)
