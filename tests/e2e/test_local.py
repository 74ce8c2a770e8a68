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


def local(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command with this input, and return its result."""
    return subprocess.run(
        [sys.executable, "-m", "infra.local", *arguments],
        cwd=ROOT,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_second_up_is_refused_with_the_address_of_the_first(stack: RunningStack) -> None:
    second = local("up", "--data-folder", str(stack.folder))
    assert second.returncode == 1
    assert second.stdout == ""
    assert stack.url in second.stderr
    assert str(stack.description.pid) in second.stderr
    assert second.stderr.count("\n") == 1


def test_up_suggests_another_port_if_its_own_is_in_use(stack: RunningStack, tmp_path: Path) -> None:
    port = urlsplit(stack.url).port or 0
    other = local("up", "--data-folder", str(tmp_path / "home"), "--port", str(port))
    assert other.returncode == 1
    assert other.stderr == (
        f"Port {port} is in use. Stop the program that uses it, or choose another port: "
        f"make up PORT={port + 1}\n"
    )


@pytest.mark.parametrize("command", ["status", "chat", "logs", "sam-local", "sam-invoke X"])
def test_without_a_stack_commands_say_how_to_start_one(command: str, tmp_path: Path) -> None:
    done = local(*command.split(), "--data-folder", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert done.stderr == "Nothing is running: start it with `make up`.\n"


def test_status_shows_the_addresses(stack: RunningStack) -> None:
    done = local("status", "--data-folder", str(stack.folder))
    assert done.returncode == 0
    for address in (stack.url, stack.description.aws.endpoint_url, stack.gemini.url):
        assert address in done.stdout


def test_logs_show_the_lines_of_a_function_and_no_secret(stack: RunningStack) -> None:
    stack.new_user()
    done = local("logs", "--data-folder", str(stack.folder), "AuthSignup", "-n", "5")
    assert done.returncode == 0
    assert "INFO    request" in done.stdout
    assert "route=POST /auth/signup status=201" in done.stdout
    assert PASSWORD not in done.stdout
    assert stack.description.upstash.token not in done.stdout


def test_logs_of_an_unknown_function_is_an_error_with_the_known_ones(stack: RunningStack) -> None:
    done = local("logs", "--data-folder", str(stack.folder), "Nonsense")
    assert done.returncode == 1
    assert "GeminiWorker" in done.stderr


def test_a_chat_answers_each_line_until_the_quota_is_used_up(stack: RunningStack) -> None:
    typed = "\n".join(["Hello", "", "How are you?", "3", "4", "5", "6"])
    done = local("chat", "--data-folder", str(stack.folder), typed=typed)
    assert done.returncode == 0, done.stderr
    replies = done.stdout.splitlines()
    assert replies[:2] == [
        "You said: Hello (turn 1)",
        "You said: How are you? (turn 2; before that: Hello)",
    ]
    assert len(replies) == 6
    assert re.search(r"5 prompts per day", replies[5])


def test_a_chat_logs_in_to_an_existing_account(stack: RunningStack) -> None:
    email = stack.new_user().identity.value
    chat = ["chat", "--data-folder", str(stack.folder), "--email", email]
    known = local(*chat, "--password", PASSWORD, typed="Hello")
    assert known.stdout == "You said: Hello (turn 1)\n"
    wrong = local(*chat, "--password", "something else entirely", typed="Hello")
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert wrong.stderr.count("\n") == 1


def test_the_printed_commands_continue_the_conversation(stack: RunningStack) -> None:
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
