"""Redis is killed during a run and restarts empty: no prompt is lost and no limit is exceeded."""

from tests.support.deployed import RunningStack
from tests.support.parallel import wait_until


def test_no_prompt_is_lost_and_no_limit_is_exceeded_when_redis_is_killed(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    room = user.open_room("Through it all")
    sent = [user.ask(room, f"Prompt {number}") for number in (1, 2)]
    user.wait(room, sent[1])
    stack.kill_redis()

    wait_until(lambda: get_redis_state(stack) == "down")
    sent += [user.ask(room, f"Prompt {number}") for number in (3, 4)]
    wait_until(lambda: get_redis_state(stack) == "ok", seconds=30, every=0.3)
    user.wait(room, sent[3])
    sent.append(user.ask(room, "Prompt 5"))
    assert user.send(room, "Prompt 6").status == 429
    for message in sent:
        assert user.wait(room, message)["status"] == "answered"


def get_redis_state(stack: RunningStack) -> str:
    """Return the state of Redis according to the deep health check."""
    return str(stack.http.get("/health?deep=1").json()["data"]["dependencies"]["redis"])
