"""The chat console in a headless Chromium."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import batched
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from geminichat.domain import ids
from infra.paths import ROOT, TOOLS
from tests.support.browser import Browser, open_browser
from tests.support.console import Console, violations
from tests.support.deployed import RunningStack
from tests.support.person import PASSWORD, Person, new_email

MARKDOWN = """Here is code:

```python
print("Hello")
```

| a | b |
|---|---|
| 1 | 2 |
"""


def make_chunk(text: str, **more: Any) -> dict[str, Any]:
    """Return a chunk of a Gemini stream."""
    part = {"content": {"role": "model", "parts": [{"text": text}]}, **more}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8}
    return {"candidates": [part], "usageMetadata": usage}


STORY = [make_chunk(f"Part {number} of the story. ") for number in range(100)]


def set_answer(stack: RunningStack, text: str, match: str) -> None:
    """Set Gemini's answer to the next prompt that contains the text `match`."""
    chunks = [make_chunk(text), make_chunk("", finishReason="STOP")]
    stack.gemini.fault("answer", events=chunks, match=match)


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A Chromium that the tests of this file share."""
    with open_browser(tmp_path_factory.mktemp("chromium") / "profile") as found:
        yield found


@pytest.fixture
def console(stack: RunningStack, window: Browser) -> Iterator[Console]:
    """The console, signed out, in a wide window with light colours."""
    console = Console(window, stack.url)
    console.set_screen(1280, "light")
    window.open(f"{stack.url}/health")
    window.driver.execute_script("sessionStorage.clear(); localStorage.clear();")
    window.requests()
    window.list_warnings()
    yield console
    window.go_offline(offline=False)
    foreign = [url for url in window.requests() if not url.startswith(LOCAL)]
    assert foreign == []


LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:")


def delay_answers(path: str) -> str:
    """Return a script that delays answers by 1.5 s if their URL ends with `path`."""
    return f"""
const ask = window.fetch;
window.fetch = async (url, settings) => {{
    const answer = await ask(url, settings);
    if (url.endsWith("{path}")) await new Promise((resolve) => setTimeout(resolve, 1500));
    return answer;
}};
"""


DEAF = """
const ask = window.fetch;
const never = new Promise(() => {});
window.fetch = (url, settings) => (url.includes("?from=") ? never : ask(url, settings));
"""
"""A script that leaves the polls of single prompts without an answer."""

RETURN = 'document.dispatchEvent(new Event("visibilitychange"));'
"""A script that loads the messages again, as a person's return to the page does."""


def reload_and_compare(console: Console, many: int) -> bool:
    """Load the messages again, and return whether `many` replies are shown."""
    console.driver.execute_script(RETURN)
    return len(console.replies()) == many


def test_a_prompt_stays_visible_when_an_older_list_of_messages_arrives_late(
    stack: RunningStack, console: Console
) -> None:
    console.sign_in(stack.new_proven_user())
    console.driver.execute_script(delay_answers("limit=50"))
    console.ask("Hello")
    assert "Hello" in console.wait_for_replies(1)
    assert console.texts(".prompt .bubble") == ["Hello"]


@pytest.mark.timeout(300)  # in a new system every function starts cold
@pytest.mark.parametrize("hand", ["mouse", "keyboard"])
def test_a_new_user_can_sign_in_chat_buy_pro_and_sign_out(
    stack: RunningStack, window: Browser, console: Console, hand: str
) -> None:
    console = Console(window, stack.url, by_keyboard=hand == "keyboard")
    console.open()
    email = new_email().value
    console.fill("Email or mobile number", email)
    console.press("Send me a code")
    console.press("Fill in the code")
    console.press("Sign in")

    stack.gemini.fault("answer", events=STORY, pause=0.8, match="Tell me a story")
    console.ask("Tell me a story")
    seen = console.watch_growth(5)
    window.driver.refresh()
    assert console.watch_growth(2, beyond=seen).startswith(seen)
    console.press("Stop the reply")
    console.wait_for_text("You stopped this reply", ".reply")
    assert console.replies()[0].startswith(seen)

    console.press("Settings of this chat")
    console.fill("Title", "My first chat")
    console.fill("Instruction", "Be brief.")
    console.press("Save")
    console.wait_for_text("My first chat", "nav a")

    console.press("Edit this prompt")
    console.fill("Edit this prompt", "Good morning")
    console.press("Send again")
    console.wait_for_text(
        "You said: Good morning (turn 1; told: Be brief.)", ".reply:not(.growing)"
    )
    console.press("Undo the last edit")
    console.wait_for_text("You stopped this reply", ".reply")
    console.press("Ask again")
    console.wait_for_text(
        "You said: Tell me a story (turn 1; told: Be brief.)", ".reply:not(.growing)"
    )

    for many in (2, 3):
        console.ask(f"Prompt {many}")
        console.wait_for_replies(many)
    console.wait_for_text("No prompts left until", ".sidebar")
    console.ask("The sixth")
    console.wait_for_text("Your prompts for today are used up", "[role=alert]")

    console.press("Upgrade to Pro")
    console.press("Get Pro")
    console.press("Pay")
    console.press("Back to the chats")
    console.wait_for_text("Pro plan", "h2")
    console.press("My first chat")
    console.ask("The sixth")
    assert "The sixth" in console.wait_for_replies(4)

    console.press(email)
    console.press("Cancel the subscription")
    console.wait_for_text("Until then you keep Pro", ".card")
    console.press("Sign out")
    console.find("Send me a code")
    assert console.driver.execute_script("return sessionStorage.length") == 0
    assert console.list_warnings() == []


def test_the_status_region_announces_that_gemini_is_answering_and_then_each_reply_once(
    stack: RunningStack, console: Console
) -> None:
    console.sign_in(stack.new_proven_user())
    console.ask("Hello")
    console.wait_for_replies(1)
    console.until(
        lambda: console.replies()[0] in console.texts("[role=status]"),
        "the first reply is not announced",
    )
    console.watch_status()
    stack.gemini.fault("stall", seconds=1, times=2, match="Prompt")
    for many in (2, 3):
        console.ask(f"Prompt {many}")
        console.wait_for_replies(many)
    answering = "Gemini is answering"
    first, second = console.replies()[1:]
    console.until(
        lambda: len(console.list_announcements()) >= 4, "the second reply is not announced"
    )
    assert console.list_announcements() == [answering, first, answering, second]


def test_a_reply_is_announced_after_the_messages_are_loaded_again(
    stack: RunningStack, console: Console
) -> None:
    stack.front.fault("refuse-connect", times=100)
    console.sign_in(stack.new_proven_user())
    console.ask("Hello")
    console.wait_for_replies(1)
    console.driver.execute_script(DEAF)
    console.ask("And then?")
    console.wait_for_text("Gemini is answering", "[role=status]")
    console.until(partial(reload_and_compare, console, 2), "no second reply")
    console.wait_for_text("You said: And then?", "[role=status]")


def test_a_reply_arrives_by_polling_when_the_network_refuses_websockets(
    stack: RunningStack, console: Console
) -> None:
    stack.front.fault("refuse-connect", times=100)
    console.sign_in(stack.new_proven_user())
    console.ask("Hello")
    assert console.wait_for_replies(1) == "You said: Hello (turn 1)"


def test_the_console_explains_each_failure_in_plain_words(
    stack: RunningStack, window: Browser, console: Console
) -> None:
    person = stack.new_proven_user()
    room = person.open_room("Trouble")
    console.sign_in(person, room)

    window.go_offline()
    console.ask("Hello")
    console.wait_for_text("The service cannot be reached", "[role=alert]")
    console.wait_for_text("You are offline", "[role=alert]")
    window.go_offline(offline=False)
    console.fill("Your prompt", "Hello again", Keys.ENTER)
    console.wait_for_replies(1)
    assert not console.texts("[role=alert]")

    stack.gemini.fault("blocked", match="Something bad")
    console.ask("Something bad")
    console.wait_for_text("Gemini declined to answer this prompt", ".failure")
    console.press("Try again")
    console.wait_for_replies(2)

    assert person.delete(room).status == 204
    console.ask("Is anybody there?")
    console.wait_for_text("This chat was deleted", "[role=alert]")

    first = window.driver.current_window_handle
    window.driver.execute_script("window.open(location.href)")
    second = window.driver.window_handles[-1]
    window.driver.switch_to.window(second)
    console.press(person.identity.value)
    console.find("Sign out")
    window.driver.execute_script(delay_answers("/auth/logout"))
    console.press("Sign out")
    console.until(lambda: person.get("/auth/me").status == 401, "the session has not ended")
    window.driver.switch_to.window(first)
    window.driver.execute_script(RETURN)
    console.wait_for_text("You signed out in another tab", "[role=alert]")
    window.driver.switch_to.window(second)
    console.find("Send me a code")
    window.driver.close()
    window.driver.switch_to.window(first)

    person = stack.new_proven_user()
    console.sign_in(person)
    assert person.post("/auth/logout", {"everywhere": True}).status == 200
    console.ask("Hello")
    console.wait_for_text("Your session has ended", "[role=alert]")


def test_the_account_page_exports_the_account(
    stack: RunningStack, window: Browser, console: Console
) -> None:
    console.sign_in(stack.new_user())
    console.open("account")
    console.press("Export my data")
    console.fill("Current password", PASSWORD)
    console.press("Export my data")
    console.wait_for_text("Your archive is ready", ".card")
    window.requests()
    console.press("Download the archive")
    console.until(
        lambda: any("X-Amz-Signature=" in url for url in window.requests()), "nothing is fetched"
    )
    assert console.list_warnings() == []


HOSTILE = [
    line.replace("\\n", "\n")
    for line in (ROOT / "tests/support/hostile_texts.txt").read_text().splitlines()
]


def test_hostile_texts_run_no_script_and_send_no_request_and_cause_no_error(
    stack: RunningStack, console: Console
) -> None:
    assert len(HOSTILE) >= 200
    person = stack.new_proven_user()
    room = store_hostile_texts(stack, person)
    console.sign_in(person, room)
    console.show_all("Show earlier messages", "article", 2 * len(HOSTILE))
    assert console.texts(".bubble")[-1] == HOSTILE[-1]
    console.press("Settings of this chat")
    assert HOSTILE[0] in str(console.find("Instruction").get_property("value"))
    console.press("Close")
    console.show_all("Show more chats", "nav a", len(HOSTILE))

    unsafe = "script, iframe, object, embed, form:not(.composer), style, link, base, meta, img, svg"
    selector = ", ".join(f".markdown {name}" for name in unsafe.split(", "))
    assert (
        console.driver.execute_script(
            "return document.querySelectorAll(arguments[0]).length", selector
        )
        == 0
    )
    links = console.driver.execute_script(
        "return [...document.querySelectorAll('.markdown a[href]')].map((a) => [a.href, a.rel])"
    )
    assert links
    assert {rel for _, rel in links} == {"noopener nofollow noreferrer"}
    assert {href.partition(":")[0] for href, _ in links} <= {"http", "https", "mailto"}
    assert console.list_warnings() == []


def store_hostile_texts(stack: RunningStack, person: Person) -> str:
    """Store every hostile text as a prompt, a reply and a title; return the room's id.

    The texts are written to copies of stored items. The room's instruction has the first texts.
    """
    room = person.open_room("Hostile", systemInstruction="\n\n".join(HOSTILE)[:4000])
    person.wait(room, person.ask(room))
    database = stack.aws("dynamodb")
    messages, rooms = (
        stack.description.tables[f"{name}Table"] for name in ("Messages", "Chatrooms")
    )
    prompt, reply = database.query(
        TableName=messages,
        KeyConditionExpression="chatroom_id = :room",
        ExpressionAttributeValues={":room": {"S": room}},
    )["Items"]
    [named] = database.query(
        TableName=rooms,
        KeyConditionExpression="user_id = :user",
        ExpressionAttributeValues={":user": {"S": person.id}},
    )["Items"]
    copies = [
        (messages, kind | {"seq": {"N": str(3 + 2 * at + after)}, "content": {"S": text}})
        for at, text in enumerate(HOSTILE)
        for after, kind in enumerate((prompt, reply))
    ]
    copies += [
        (rooms, named | {"chatroom_id": {"S": ids.new("r")}, "title": {"S": text[:120]}})
        for text in HOSTILE
    ]
    for batch in batched(copies, 25, strict=False):
        put = [(table, {"PutRequest": {"Item": item}}) for table, item in batch]
        by_table = {table: [each for of, each in put if of == table] for table, _ in put}
        assert not database.batch_write_item(RequestItems=by_table)["UnprocessedItems"]
    return room


@pytest.fixture(scope="module")
def axe() -> str:
    """Install axe-core if it is missing, and return its source."""
    if not shutil.which("npm"):
        pytest.skip("axe-core needs npm, which comes with Node.js 20 or newer")
    subprocess.run([sys.executable, ROOT / "infra/setup.py", "--only", "axe"], check=True)
    return (TOOLS / "axe" / "node_modules" / "axe-core" / "axe.min.js").read_text()


def test_the_console_has_no_accessibility_violation_in_any_state(
    stack: RunningStack, console: Console, axe: str
) -> None:
    def check(state: str) -> None:
        for width, scheme in ((320, "dark"), (1280, "light")):
            console.set_screen(width, scheme)
            assert violations(console, axe) == [], f"{state}, {width} pixels, {scheme}"
            size = "const page = document.documentElement; return page.scrollWidth"
            assert console.driver.execute_script(size) <= width, f"{state} is wider than {width}"

    console.open()
    console.find("Send me a code")
    check("signing in")
    console.fill("Email or mobile number", new_email().value)
    console.press("Send me a code")
    console.find("Fill in the code")
    check("entering a code")

    person = stack.new_proven_user()
    console.sign_in(person)
    check("a new chat")
    set_answer(stack, MARKDOWN, "Some code")
    console.ask("Some code")
    console.wait_for_replies(1)
    check("a conversation with code")
    stack.gemini.fault("stall", seconds=20, match="Slow")
    console.ask("Slow")
    console.wait_for_text("Gemini is", ".growing")
    check("a reply that is awaited")
    console.press("Settings of this chat")
    check("the settings of a chat")
    console.press("Close")
    stack.gemini.fault("blocked", match="Bad")
    room = person.open_room("Failed")
    person.wait(room, person.ask(room, "Bad"))
    console.open(room)
    console.wait_for_text("Gemini declined", ".failure")
    check("a failed prompt")
    console.open("account")
    console.wait_for_text("Basic plan")
    check("the account")
    person = stack.new_user()
    assert person.post("/user/export", {"currentPassword": PASSWORD}).status == 202
    console.sign_in(person)
    console.open("account")
    console.wait_for_text("Your archive is ready")
    check("an account with an export")


def test_the_first_page_load_is_small_and_the_second_uses_the_browsers_cache(
    window: Browser, console: Console
) -> None:
    def load() -> dict[str, int]:
        console.find("Send me a code")
        console.until(
            lambda: any(url.endswith("icon.svg") for url in window.file_sizes()), "no icon"
        )
        return window.file_sizes()

    window.empty_cache()
    console.open()
    first = load()
    assert len(first) <= 12
    assert sum(first.values()) <= 150 * 1024
    window.driver.refresh()
    again = load()
    assert again.keys() <= first.keys()
    assert all(size <= HEADERS_ONLY for size in again.values()), again


HEADERS_ONLY = 300
"""The most bytes that the browser counts for a 304; it counts none for a cached file."""

PICTURE = ROOT / "tests" / "e2e" / "console.png"


def test_the_picture_in_the_readme_shows_the_console(
    stack: RunningStack, window: Browser, console: Console
) -> None:
    person = stack.new_proven_user()
    for title in ("Holiday in Norway", "Rewrite a letter", "Python queues"):
        room = person.open_room(title)
    set_answer(stack, SHOWN, "message queue")
    console.sign_in(person, room)
    console.ask("What is a message queue good for?")
    console.wait_for_replies(1)
    console.find("Copy code")
    picture = window.take_screenshot()
    assert len(picture) < 200_000
    if os.environ.get("PICTURE"):
        PICTURE.write_bytes(picture)
    assert PICTURE.is_file()


SHOWN = """A queue **decouples** the part that accepts work from the part that does it:

- requests are answered at once, however long the work takes
- a crash loses nothing: the message comes back

```python
import boto3

queue = boto3.resource("sqs").get_queue_by_name(QueueName="prompts")
queue.send_message(MessageBody="Hello")
```

Use one whenever the sender need not wait for the result."""
