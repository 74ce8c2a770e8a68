"""The pro plan, bought on the Checkout page of the Stripe stand-in."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as see

from tests.support.browser import Browser
from tests.support.deployed import RunningStack
from tests.support.parallel import wait_until
from tests.support.person import Person, new_mobile


def wait_for(user: Person, value: object, field: str = "plan") -> Mapping[str, Any]:
    """Wait until a field of the user's subscription status has the value; return the status."""
    wait_until(lambda: user.status()[field] == value, seconds=60, every=0.1)
    return user.status()


def test_a_lost_event_is_recovered_with_make_reconcile(stack: RunningStack) -> None:
    user = stack.new_proven_user()
    stack.stripe.endpoint(held=True)
    stack.stripe.act(open_checkout(user)["sessionId"], "pay")
    stack.stripe.endpoint(held=False)

    preview = stack.run("reconcile", "--dry-run").stdout
    assert f"{user.id}: none, basic → active, pro until" in preview
    assert "nothing was changed" in preview
    assert user.status()["plan"] == "basic"

    assert user.id in stack.run("reconcile").stdout
    assert user.status()["plan"] == "pro"
    again = stack.run("reconcile")
    assert (again.returncode, user.id in again.stdout) == (0, False)


# ── In a browser ─────────────────────────────────────────────────────────────────────────────────


def open_checkout(user: Person) -> Mapping[str, Any]:
    """Request a Checkout page for the user, and return its id and URL."""
    reply = user.checkout()
    assert reply.status == 200, reply.text
    page: Mapping[str, Any] = reply.data
    return page


def click(browser: Browser, button: str) -> None:
    """Click the element with the id `button` as soon as it is clickable."""
    browser.until(see.element_to_be_clickable((By.ID, button))).click()


def wait_for_text(browser: Browser, role: str) -> str:
    """Wait until an element with this role is visible, and return its text."""
    found = browser.until(see.visibility_of_element_located((By.CSS_SELECTOR, f"[role={role}]")))
    return str(found.text)


@pytest.fixture
def warm(stack: RunningStack) -> None:
    """Warm the functions up with the subscription of another user."""
    other = stack.new_proven_user()
    stack.stripe.act(open_checkout(other)["sessionId"], "pay")
    wait_for(other, "pro")


@pytest.mark.usefixtures("warm")
def test_pro_lasts_from_the_payment_to_the_end_of_the_cancelled_period(
    stack: RunningStack, browser: Browser
) -> None:
    user = stack.new_proven_user()
    room = user.open_room("Until the sixth")
    for _ in range(5):
        user.wait(room, user.ask(room, "Hello"))
    assert user.send(room, "One more").status == 429

    page = open_checkout(user)
    browser.open(page["url"])
    assert user.status()["plan"] == "basic"
    click(browser, "pay")
    wait_for(user, "pro")
    browser.until(see.url_to_be(f"{stack.url}/subscription/success?session_id={page['sessionId']}"))
    assert browser.driver.find_element(By.TAG_NAME, "h1").text == "Thank you"
    assert user.send(room, "The sixth").status == 202

    portal = stack.http.post("/subscription/portal", headers=user.headers).json()["data"]
    browser.open(portal["url"])
    click(browser, "cancel")
    assert "ends with its period" in wait_for_text(browser, "status")
    told = wait_for(user, True, "cancelAtPeriodEnd")
    assert told["plan"] == "pro"
    ends = datetime.fromisoformat(told["currentPeriodEnd"]).timestamp()

    stack.stripe.advance(ends - stack.stripe.now() - 60)
    assert user.status()["plan"] == "pro"
    assert user.send(room, "The seventh").status == 202
    stack.stripe.advance(61)
    assert wait_for(user, "basic")["status"] == "canceled"
    assert user.send(room, "One more").status == 429

    click(browser, "back")
    browser.until(see.url_to_be(f"{stack.url}/subscription/success"))
    asked = {urlsplit(url).netloc for url in browser.requests()}
    assert asked == {urlsplit(stack.url).netloc, urlsplit(stack.stripe.url).netloc}
    assert browser.list_warnings() == []


def test_a_declined_card_keeps_the_basic_plan_and_another_card_can_be_used(
    stack: RunningStack, browser: Browser
) -> None:
    user = stack.new_proven_user(new_mobile())
    page = open_checkout(user)
    browser.resize(390, 844)
    browser.open(page["url"])
    focus = browser.driver.switch_to
    focus.active_element.send_keys("ada@example.com")
    click(browser, "decline")
    assert "declined" in wait_for_text(browser, "alert")
    assert "declined" in focus.active_element.text, (
        "the focus is not on the error, so a screen reader does not read it"
    )
    assert browser.driver.execute_script("return document.body.scrollWidth") <= 390
    assert user.status()["plan"] == "basic"
    assert open_checkout(user) == page

    focus.active_element.send_keys(Keys.TAB)
    focus.active_element.send_keys(Keys.ENTER)  # in the field that kept the address
    wait_for(user, "pro")
    browser.open(page["url"])
    assert "already paid" in browser.driver.find_element(By.TAG_NAME, "h1").text
