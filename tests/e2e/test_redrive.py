"""A redrive by `make admin` on the running stack, after an outage of Gemini."""

from tests.support.deployed import RunningStack


def redrive(stack: RunningStack, *options: str) -> str:
    """Run `make admin redrive`; return its output without the first line."""
    done = stack.run("admin", "redrive", "--reason", "the outage is over", *options)
    assert (done.returncode, done.stderr) == (0, "")
    _, _, said = done.stdout.partition("\n")
    return said


def test_a_redriven_prompt_is_answered_but_not_counted(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    room = user.open_room("Redriven")
    stack.gemini.fault("error", status=500, match="Are you down?", times="always")
    message_id = user.ask(room, "Are you down?")
    assert user.wait(room, message_id)["status"] == "failed"
    stack.gemini.reset()

    said = redrive(stack, "--dry-run")
    assert f"{message_id}: queued again\n" in said
    assert said.endswith("This was a dry run. Nothing was changed.\n")
    assert user.fetch_message(room, message_id)["status"] == "failed"

    said = redrive(stack)
    assert f"{message_id}: queued again\n" in said
    message = user.wait(room, message_id)
    assert (message["status"], message["error"]) == ("answered", None)
    assert message["reply"]["content"].startswith("You said: Are you down?")
    assert user.me().data["usage"]["used"] == 0
    assert redrive(stack) == "Nothing to redrive.\n"
