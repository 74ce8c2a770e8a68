"""`make redrive` against the running stack, after an outage of Gemini."""

import time

from tests.support.deployed import RunningStack


def redrive(stack: RunningStack, *options: str) -> str:
    """Run the command and return its output."""
    done = stack.run("redrive", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_prompts_that_failed_in_an_outage_of_gemini_are_answered_after_a_redrive_and_counted_once(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    room = user.open_room("Redriven")
    stack.gemini.fault("error", status=500, match="Are you down?", times="always")
    message_id = user.sent(room, "Are you down?")
    assert user.wait(room, message_id)["status"] == "failed"
    deadline = time.monotonic() + 45  # the sweep hides letters while it looks at them
    while room not in {letter["chatroomId"] for letter in stack.dead_letters()}:
        assert time.monotonic() < deadline, "no dead letter came"
        time.sleep(0.2)
    stack.gemini.reset()

    said = redrive(stack, "--dry-run")
    assert f"{message_id}: queued again\n" in said
    assert said.endswith("Nothing was changed.\n")
    assert user.look(room, message_id)["status"] == "failed"

    said = redrive(stack)
    assert f"{message_id}: queued again\n" in said
    message = user.wait(room, message_id)
    assert (message["status"], message["error"]) == ("answered", None)
    assert message["reply"]["content"].startswith("You said: Are you down?")
    assert user.me().data["usage"]["used"] == 0
    assert redrive(stack) == "No dead letters.\n"
