"""`make redrive` against the running stack, after an outage of Gemini."""

import subprocess
import sys
import time

from infra.paths import ROOT
from tests.support.deployed import RunningStack


def redrive(stack: RunningStack, *options: str) -> str:
    """Run the command and return its output."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "infra.stages.redrive",
            "local",
            *options,
            "--home",
            stack.home.folder,
        ],
        cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": "layers/core", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_prompt_that_failed_in_gemini_s_outage_is_answered_after_a_redrive(
    stack: RunningStack,
) -> None:
    user = stack.new_user()
    room = user.open_room("Redriven")
    stack.gemini.fault("error", status=500, match="Are you down?", times="always")
    message_id = user.sent(room, "Are you down?")
    assert user.wait(room, message_id)["status"] == "failed"
    deadline = time.monotonic() + 45  # the sweep hides dead letters while it reads them
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
