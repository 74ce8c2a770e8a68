"""The page at /docs in a browser."""

from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions as see

from tests.support.browser import Browser
from tests.support.deployed import RunningStack
from tests.support.document import DOCUMENT

SEND = "#operations-Chatrooms-chatroomSendMessage"


def open_page(browser: Browser, stack: RunningStack) -> list[Any]:
    """Open /docs, and return its operations as soon as they are shown."""
    browser.open(f"{stack.url}/docs")
    browser.until(see.presence_of_element_located((By.CSS_SELECTOR, SEND)))
    return browser.driver.find_elements(By.CSS_SELECTOR, ".opblock")


def test_the_docs_page_shows_every_operation_and_sends_requests_only_to_its_own_origin(
    stack: RunningStack, browser: Browser
) -> None:
    operations = open_page(browser, stack)
    assert len(operations) == sum(len(verbs) for verbs in DOCUMENT["paths"].values())
    assert not browser.driver.find_elements(By.CSS_SELECTOR, ".errors-wrapper, .loading-container")

    browser.driver.find_element(By.CSS_SELECTOR, f"{SEND} .opblock-summary-control").click()
    errors = (By.CSS_SELECTOR, f"{SEND} tr.response[data-code='429']")
    answer = browser.until(see.visibility_of_element_located(errors))
    assert "quota-exceeded" in answer.text

    asked = browser.requests()
    assert f"{stack.url}/openapi.json" in asked
    assert [url for url in asked if not url.startswith(f"{stack.url}/")] == []
    assert browser.list_warnings() == []


def test_the_docs_page_is_no_wider_than_the_screen_of_a_phone(
    stack: RunningStack, browser: Browser
) -> None:
    browser.resize(390, 844)
    open_page(browser, stack)
    browser.driver.find_element(By.CSS_SELECTOR, f"{SEND} .opblock-summary-control").click()
    answer = (By.CSS_SELECTOR, f"{SEND} tr.response[data-code='202'] .highlight-code")
    browser.until(see.visibility_of_element_located(answer))
    sizes = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth];"
    width, visible = browser.driver.execute_script(sizes)
    assert width <= visible <= 390
