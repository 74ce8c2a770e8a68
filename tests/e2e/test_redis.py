"""Redis is killed during a run and restarts empty: no prompt is lost and no limit exceeded."""

import time

from tests.support.deployed import RunningStack


def test_no_prompt_is_lost_and_no_limit_exceeded_when_redis_is_killed(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    room = user.open_room("Through it all")
    sent = [user.ask(room, f"Prompt {number}") for number in (1, 2)]
    user.wait(room, sent[1])
    stack.kill_redis()

    assert redis_is(stack, "down")
    sent += [user.ask(room, f"Prompt {number}") for number in (3, 4)]
    assert redis_is(stack, "ok", within=30), "it is started again"
    user.wait(room, sent[3])
    sent.append(user.ask(room, "Prompt 5"))
    assert user.send(room, "Prompt 6").status == 429
    for message in sent:
        assert user.wait(room, message)["status"] == "answered"


def redis_is(stack: RunningStack, state: str, within: float = 5) -> bool:
    """Wait until the deep health check reports this state of Redis."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        dependencies = stack.http.get("/health?deep=1").json()["data"]["dependencies"]
        if dependencies["redis"] == state:
            return True
        time.sleep(0.3)
    return False
