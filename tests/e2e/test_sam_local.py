"""`sam local` with a running stack: the API in containers, everything else emulated."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.command import CommandError
from infra.local.cloud import docker, sam
from infra.local.serving import free_port
from infra.paths import ROOT
from tests.support.deployed import RunningStack
from tests.support.http_api import HttpApi
from tests.support.person import Person

START_TIMEOUT = 120.0


def skip_without_docker() -> None:
    """Skip the test if Docker or the functions' image is missing."""
    try:
        docker.check()
    except CommandError as error:
        pytest.skip(str(error))
    if not docker.has_image(sam.image()):
        pytest.skip(f"The image {sam.image()} is missing: `docker pull` it.")


def build_command(stack: RunningStack, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "infra.local", "--data-folder", str(stack.folder), *arguments]


@pytest.fixture
def in_containers(stack: RunningStack, tmp_path: Path) -> Iterator[str]:
    """The URL of the API in containers that `make sam-local` starts."""
    skip_without_docker()
    before = list_containers()
    port, log = free_port(), tmp_path / "sam.log"
    url = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        served = subprocess.Popen(
            build_command(stack, "sam-local", "--port", str(port)),
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not is_answering(url):
            if served.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"`sam local` does not answer:\n{log.read_text()}")
            time.sleep(0.2)
        yield url
        own = list_containers() - before
    finally:
        served.send_signal(signal.SIGINT)
        served.wait(60)
    assert not is_answering(url)
    assert not list_containers() & own, "containers are left after the end of the command"


def list_containers() -> set[str]:
    """Return the ids of the running containers."""
    command = ["docker", "ps", "--quiet", "--no-trunc"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def is_answering(url: str) -> bool:
    try:
        httpx.get(url, trust_env=False)
    except httpx.TransportError:
        return False
    return True


@pytest.mark.timeout(400)
def test_a_prompt_sent_to_a_container_is_answered_by_the_emulated_worker(
    in_containers: str, stack: RunningStack
) -> None:
    user = Person.new(HttpApi(in_containers))
    room = user.open_room("Containers")
    sent = user.ask(room, "Hello from a container")
    answer = user.wait(room, sent, seconds=60)
    assert answer["status"] == "answered"
    assert answer["reply"]["content"] == "You said: Hello from a container (turn 1)"
    outside = Person(stack.api, user.identity)
    assert outside.log_in().status == 200
    assert outside.fetch_message(room, sent)["reply"] == answer["reply"], (
        "the two APIs use different tables"
    )


@pytest.mark.timeout(200)
def test_sam_invoke_runs_a_function_with_its_sample_event(stack: RunningStack) -> None:
    skip_without_docker()
    done = subprocess.run(
        build_command(stack, "sam-invoke", "ChatroomCreate"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert reply["statusCode"] == 201, reply
    assert json.loads(reply["body"])["data"]["title"] == "Queues"


def test_sam_invoke_of_an_unknown_function_is_an_error_that_names_the_known_functions(
    stack: RunningStack,
) -> None:
    done = subprocess.run(
        build_command(stack, "sam-invoke", "Nonsense"), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    known = "The functions are: AdminChange, "
    assert done.stderr.startswith(f"There is no function Nonsense. {known}")
    assert done.stderr.count("\n") == 1
