"""The commands `up`, `chat`, `status` and `logs` of a local stack."""

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


def run_local(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command of the local stack with the typed input, and return its result."""
    return subprocess.run(
        [sys.executable, "-m", "infra.local", *arguments],
        cwd=ROOT,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_make_up_fails_and_shows_the_address_if_the_stack_is_running(
    stack: RunningStack,
) -> None:
    second = run_local("up", "--data-folder", str(stack.folder))
    assert second.returncode == 1
    assert second.stdout == ""
    assert stack.url in second.stderr
    assert str(stack.description.pid) in second.stderr
    assert second.stderr.count("\n") == 1


def test_make_up_suggests_another_port_if_the_port_is_in_use(
    stack: RunningStack, tmp_path: Path
) -> None:
    port = urlsplit(stack.url).port or 0
    other = run_local("up", "--data-folder", str(tmp_path / "home"), "--port", str(port))
    assert other.returncode == 1
    assert other.stderr == (
        f"Port {port} is in use. Stop the program that uses it, or choose another port: "
        f"make up PORT={port + 1}\n"
    )


@pytest.mark.parametrize("command", ["status", "chat", "logs", "sam-local", "sam-invoke X"])
def test_commands_without_a_running_stack_say_how_to_start_it(command: str, tmp_path: Path) -> None:
    done = run_local(*command.split(), "--data-folder", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert done.stderr == "Nothing is running: start it with `make up`.\n"


def test_make_status_shows_the_addresses_of_the_stack(stack: RunningStack) -> None:
    done = run_local("status", "--data-folder", str(stack.folder))
    assert done.returncode == 0
    for address in (stack.url, stack.description.aws.endpoint_url, stack.gemini.url):
        assert address in done.stdout


def test_make_logs_shows_the_lines_of_a_function_and_no_secret(stack: RunningStack) -> None:
    stack.new_user()
    done = run_local("logs", "--data-folder", str(stack.folder), "AuthSignup", "-n", "5")
    assert done.returncode == 0
    assert "INFO    request" in done.stdout
    assert "route=POST /auth/signup status=201" in done.stdout
    assert PASSWORD not in done.stdout
    assert stack.description.upstash.token not in done.stdout


def test_make_logs_of_an_unknown_function_is_an_error_that_names_the_known_functions(
    stack: RunningStack,
) -> None:
    done = run_local("logs", "--data-folder", str(stack.folder), "Nonsense")
    assert done.returncode == 1
    assert "GeminiWorker" in done.stderr


def test_make_chat_answers_each_line_until_the_daily_quota_is_used_up(stack: RunningStack) -> None:
    typed = "\n".join(["Hello", "", "How are you?", "3", "4", "5", "6"])
    done = run_local("chat", "--data-folder", str(stack.folder), typed=typed)
    assert done.returncode == 0, done.stderr
    replies = done.stdout.splitlines()
    assert replies[:2] == [
        "You said: Hello (turn 1)",
        "You said: How are you? (turn 2; before that: Hello)",
    ]
    assert len(replies) == 6
    assert re.search(r"5 prompts per day", replies[5])


def test_make_chat_logs_in_to_an_existing_account(stack: RunningStack) -> None:
    email = stack.new_user().identity.value
    chat = ["chat", "--data-folder", str(stack.folder), "--email", email]
    known = run_local(*chat, "--password", PASSWORD, typed="Hello")
    assert known.stdout == "You said: Hello (turn 1)\n"
    wrong = run_local(*chat, "--password", "something else entirely", typed="Hello")
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert wrong.stderr.count("\n") == 1


def test_the_printed_commands_continue_the_first_conversation(
    stack: RunningStack,
) -> None:
    shown: list[str] = []
    held = conversation.hold(stack.url, shown.append)
    assert [line.split()[:2] for line in shown] == [
        ["POST", "/auth/signup"],
        ["POST", "/chatroom"],
        ["POST", "/chatroom/{id}/message"],
        ["GET", "/chatroom/{id}/message/{messageId}"],
    ]
    commands = conversation.next_commands(stack.url, held)
    done = subprocess.run(["bash", "-c", commands], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    sent, room = done.stdout.splitlines()
    assert '"status":"queued"' in sent
    assert "You said: And what is a dead-letter queue?" in room
