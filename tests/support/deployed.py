"""The stack that `python -m infra.local up` runs for the end-to-end tests."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from geminichat.domain.identities import Identity
from infra import running as description
from infra.local import logs
from infra.local.chaos import processes
from infra.paths import ROOT
from tests.support import stage_commands
from tests.support.http_api import HttpApi
from tests.support.person import Person
from tests.support.standins import StandIn, Stripe

START_TIMEOUT = 300.0
"""Seconds that a start may take; most of them are for a first build."""
STOP_TIMEOUT = 120.0
"""Seconds that a stop may take: MiniStack writes its state, slowly on a slow disk."""


@dataclass(frozen=True)
class RunningStack:
    """A running stack, and clients of its parts."""

    folder: Path
    description: description.Stack

    @property
    def url(self) -> str:
        """The API's URL."""
        return self.description.api_url

    @cached_property
    def http(self) -> httpx.Client:
        """An HTTP client of the API."""
        return httpx.Client(base_url=self.url, timeout=40, trust_env=False)

    @cached_property
    def gemini(self) -> StandIn:
        """The stand-in for Gemini: its faults and the requests that it received."""
        assert self.description.gemini
        return StandIn(self.description.gemini.url)

    @cached_property
    def front(self) -> StandIn:
        """The front: its faults for WebSockets."""
        return StandIn(self.url)

    @cached_property
    def stripe(self) -> Stripe:
        """The stand-in for Stripe: its faults, its clock, its customers' actions."""
        assert self.description.stripe
        return Stripe(self.description.stripe.url, self.description.stripe.secret_key)

    @cached_property
    def upstash(self) -> StandIn:
        """The stand-in for Upstash: its faults and the requests that it received."""
        return StandIn(self.description.upstash.url)

    def aws(self, service: str) -> Any:
        """Return a boto3 client of the emulated AWS, as its root user."""
        return self.description.aws.client(service)

    @cached_property
    def api(self) -> HttpApi:
        """The API, for requests without a person."""
        return HttpApi(self.url, self.description.aws.endpoint_url)

    def new_user(self) -> Person:
        """Return someone with a new account on the basic plan."""
        return Person.new(self.api, self.stripe if self.description.stripe else None)

    def new_proven_user(self, identity: Identity | None = None) -> Person:
        """Return someone with a new account and a verified identity, who can subscribe."""
        return Person.new_proven(
            self.api, self.stripe if self.description.stripe else None, identity
        )

    def rooms_of_dead_letters(self) -> set[str]:
        """Return the rooms that the dead letters name; the dead letters stay in their queue."""
        answer = self.aws("sqs").receive_message(
            QueueUrl=self.description.queues["DeadLettersQueue"].url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
        )
        return {json.loads(letter["Body"])["chatroomId"] for letter in answer.get("Messages", [])}

    def kill_redis(self) -> None:
        """Kill Valkey; the stack starts an empty one after a few seconds."""
        assert processes.kill_valkey(self.description), "no Valkey runs on the described port"

    def run(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a command of infra/stages on this stage, as `make` does, and return its result."""
        return stage_commands.run(command, "local", "--data-folder", str(self.folder), *options)

    def live_settings(self, function: str) -> dict[str, str]:
        """Return the environment variables of the version that a function's alias runs."""
        live = self.aws("lambda").get_function_configuration(
            FunctionName=self.description.functions[function], Qualifier="live"
        )
        variables: dict[str, str] = live["Environment"]["Variables"]
        return variables

    def stored_secrets(self) -> set[str]:
        """Return the stage's secrets in SSM; each signing key is also a secret by itself."""
        ssm = self.aws("ssm")
        found: set[str] = set()
        pages = ssm.get_paginator("get_parameters_by_path").paginate(
            Path=f"/geminichat/{self.description.stage}", WithDecryption=True
        )
        for page in pages:
            for parameter in page["Parameters"]:
                found.add(parameter["Value"])
                if parameter["Name"].endswith("/signing-keys"):
                    found.update(json.loads(parameter["Value"])["keys"].values())
        return found

    def log_lines(self) -> list[str]:
        """Return every line of the stack's log, in order of time."""
        return [message for _, message in sorted(logs.entries(self.description))]

    def read_log(self, function: str | None = None) -> list[Mapping[str, Any]]:
        """Return the structured log lines of one function, or of all."""
        lines: list[Mapping[str, Any]] = []
        for line in self.log_lines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
        name = self.description.functions[function] if function else None
        return [line for line in lines if not name or line.get("function_name") == name]


@contextlib.contextmanager
def run_system(folder: Path, *options: str) -> Iterator[RunningStack]:
    """Run `python -m infra.local up` while the block runs, with these options."""
    output = folder.with_suffix(".log")
    command = [
        sys.executable,
        "-m",
        "infra.local",
        "up",
        "--data-folder",
        str(folder),
        "--port",
        "0",
    ]
    with output.open("w") as log:
        process = subprocess.Popen(
            [*command, "--no-conversation", "--no-reload", *options],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while (found := description.find(folder)) is None:
            if process.poll() is not None:
                pytest.fail(f"The stack ended while it started:\n{output.read_text()}")
            if time.monotonic() > deadline:
                pytest.fail(f"The stack did not start in time:\n{output.read_text()}")
            time.sleep(0.1)
        yield RunningStack(folder, found)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"The stack did not stop:\n{output.read_text()}")
