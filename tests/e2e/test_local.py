"""The commands of the emulated cloud: `up`, `chat`, `status` and `logs`, as a person uses them."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local import conversation
from infra.paths import ROOT
from tests.support.deployed import RunningStack
from tests.support.person import PASSWORD


def local(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of the commands to its end, its input being what was said."""
    return subprocess.run(
        [sys.executable, "-m", "infra.local", *arguments],
        cwd=ROOT,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_second_up_says_where_the_first_one_runs(stack: RunningStack) -> None:
    second = local("up", "--data-folder", str(stack.folder))
    assert second.returncode == 1
    assert second.stdout == ""
    assert stack.url in second.stderr
    assert str(stack.description.pid) in second.stderr
    assert second.stderr.count("\n") == 1


def test_a_taken_port_is_told_with_the_way_out(stack: RunningStack, tmp_path: Path) -> None:
    port = urlsplit(stack.url).port or 0
    other = local("up", "--data-folder", str(tmp_path / "home"), "--port", str(port))
    assert other.returncode == 1
    assert other.stderr == (
        f"Port {port} is in use. Stop the program that uses it, or choose another port: "
        f"make up PORT={port + 1}\n"
    )


@pytest.mark.parametrize("command", ["status", "chat", "logs", "sam-local", "sam-invoke X"])
def test_what_needs_a_running_stack_says_how_to_start_one(command: str, tmp_path: Path) -> None:
    done = local(*command.split(), "--data-folder", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert done.stderr == "Nothing is running: start it with `make up`.\n"


def test_status_says_what_runs_where(stack: RunningStack) -> None:
    done = local("status", "--data-folder", str(stack.folder))
    assert done.returncode == 0
    for address in (stack.url, stack.description.aws.endpoint_url, stack.gemini.url):
        assert address in done.stdout


def test_logs_show_what_a_function_logged_and_no_secret(stack: RunningStack) -> None:
    stack.new_user()
    done = local("logs", "--data-folder", str(stack.folder), "AuthSignup", "-n", "5")
    assert done.returncode == 0
    assert "INFO    request" in done.stdout
    assert "route=POST /auth/signup status=201" in done.stdout
    assert PASSWORD not in done.stdout
    assert stack.description.upstash.token not in done.stdout


def test_logs_of_an_unknown_function_name_the_known_ones(stack: RunningStack) -> None:
    done = local("logs", "--data-folder", str(stack.folder), "Nonsense")
    assert done.returncode == 1
    assert "GeminiWorker" in done.stderr


def test_a_chat_answers_each_line_until_the_plan_is_used_up(stack: RunningStack) -> None:
    said = "\n".join(["Hello", "", "How are you?", "3", "4", "5", "6"])
    done = local("chat", "--data-folder", str(stack.folder), said=said)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert answers[:2] == [
        "You said: Hello (turn 1)",
        "You said: How are you? (turn 2; before that: Hello)",
    ]
    assert len(answers) == 6
    assert re.search(r"5 prompts a day", answers[5])


def test_a_chat_logs_in_to_an_account_that_is_there(stack: RunningStack) -> None:
    email = stack.new_user().identity.value
    chat = ["chat", "--data-folder", str(stack.folder), "--email", email]
    known = local(*chat, "--password", PASSWORD, said="Hello")
    assert known.stdout == "You said: Hello (turn 1)\n"
    wrong = local(*chat, "--password", "something else entirely", said="Hello")
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert wrong.stderr.count("\n") == 1


def test_the_lines_to_go_on_by_hand_work_as_printed(stack: RunningStack) -> None:
    shown: list[str] = []
    walked = conversation.hold(stack.url, shown.append)
    assert [line.split()[:2] for line in shown] == [
        ["POST", "/auth/signup"],
        ["POST", "/chatroom"],
        ["POST", "/chatroom/{id}/message"],
        ["GET", "/chatroom/{id}/message/{messageId}"],
    ]
    lines = conversation.next_commands(stack.url, walked)
    done = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    sent, room = done.stdout.splitlines()
    assert '"status":"queued"' in sent
    assert "You said: And what is a dead-letter queue?" in room
