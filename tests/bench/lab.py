"""The built functions, and the references with which they are compared.

The reference `floor` only makes a function's network calls. `usual` does the same kind of work with
common libraries. `bare` does nothing.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from certificates import make_hashed_folder
from tests.bench import subjects, trees
from tests.bench.host import BenchError, Cold, Function, Host, Subject, cold_start, sandbox
from tests.bench.standins import Call, World
from tests.bench.subjects import Settings
from tests.bench.trees import REFERENCES, Trees
from tests.support import certificates
from tests.support.template import FUNCTIONS

PAUSE = 0.02
"""Seconds that a stand-in takes per call, so that parallel calls differ from sequential ones."""

USUAL = ("powertools", "fastapi")
USUAL_REDIS: Mapping[str, Sequence[Any]] = {"list": [None, "OK"], "send": [1], "create": [1]}


@dataclass(frozen=True)
class Contender:
    """A function or reference to measure, and the answers of its services."""

    subject: Subject
    world: World


@dataclass(frozen=True)
class Lab:
    """The host, the packages and the settings of all measurements."""

    host: Host
    trees: Trees
    settings: Settings

    def ours(self, name: str) -> Contender:
        """Return one of our functions, as it is built."""
        refs = [layer["Ref"] for layer in FUNCTIONS[name].get("Layers", [])]
        others = [ref.removesuffix("Layer").lower() for ref in refs if ref != "CoreLayer"]
        layers = [self.trees.layer(layer) for layer in ["core", *others]]
        subject = Subject(
            name,
            self.trees.function(name),
            layers,
            self.settings.environment,
            subjects.event_of(name),
            timeout=60,
        )
        return Contender(subject, self.settings.world(name))

    @contextmanager
    def use_tls(self) -> Iterator["Lab"]:
        """Yield a lab with services that answer over TLS while the block runs.

        Their certificate is in the core layer's hashed folder, where the functions look for it.
        """
        trusted = self.trees.layer("core") / "certificates"
        with tempfile.TemporaryDirectory() as folder:
            certificate, hashed = Path(folder) / "certificate.pem", Path(folder) / "hashed"
            context = certificates.make(certificate, certificates.LOOPBACK)
            make_hashed_folder(certificate, hashed)
            [made] = hashed.iterdir()
            (trusted / made.name).write_bytes(made.read_bytes())
        try:
            with self.host.serve_tls(context) as port:
                settings = subjects.settings(f"https://127.0.0.1:{port}")
                yield replace(self, settings=settings)
        finally:
            (trusted / made.name).unlink()

    def bare(self) -> Contender:
        """Return a handler that does nothing, without layers."""
        return self._reference("bare", "bare", [], {})

    def gemini_import(self) -> Contender:
        """Return a handler that only imports google-generativeai, as shipped."""
        layers = [self.trees.package("gemini"), self.trees.package("core")]
        return self._reference("gemini_import", "gemini_import", layers, {})

    def floor(self, name: str, calls: Sequence[Call], *, shipped: bool) -> Contender:
        """Return a function's floor, which only repeats the recorded calls with the same SDKs."""
        ours = self.ours(name)
        ask = subjects.ask_of(name)
        plan = json.dumps(
            {
                "uses": _uses(name, calls),
                "calls": [_replay(c) for c in calls],
                "hashes": ask.hashes,
                "verifies": ask.event is None and not ask.public,
                "issues": ask.issues,
            }
        )
        if shipped:
            layers = [self.trees.package("core")]
            layers += [
                self.trees.package(layer.parent.name.removesuffix("Layer").lower())
                for layer in ours.subject.layers[1:]
            ]
        else:
            layers = list(ours.subject.layers)
        kind = "shipped" if shipped else "ours"
        settings = {**self.settings.environment, "FLOOR_PLAN": plan, "FLOOR_CLIENTS": kind}
        subject = replace(
            ours.subject,
            name=f"floor-{kind}-{name}",
            code=REFERENCES / "floor",
            layers=layers,
            settings=settings,
        )
        return Contender(subject, ours.world)

    def usual(self, way: str, kind: str) -> Contender:
        """Return the reference that does a kind of work in a usual way, such as "fastapi"."""
        example = {
            "health": "HealthCheck",
            "login": "AuthLogin",
            "create": "ChatroomCreate",
            "list": "ChatroomList",
            "get": "ChatroomGetMessage",
            "send": "ChatroomSendMessage",
        }[kind]
        world = self.settings.world(example)
        world.redis = list(USUAL_REDIS.get(kind, []))
        subject = Subject(
            f"{way}-{kind}",
            REFERENCES / way,
            [self.trees.package(way), REFERENCES / "usual"],
            self.settings.environment,
            subjects.event_of(example),
        )
        return Contender(subject, world)

    def cold(self, contender: Contender) -> Cold:
        """Start a contender and send it a request. Raises BenchError if the answer is an error."""
        self.host.world = replace(contender.world, calls=[], asked=0)
        cold, answer = cold_start(
            self.host, trees.PYTHON, self.trees.package("runtime"), contender.subject
        )
        require_success(contender.subject.name, answer)
        return cold

    @contextmanager
    def warm(self, contender: Contender, pause: float = 0.0) -> Iterator[Function]:
        """Start a contender, send it one request, and keep it running while the block runs."""
        self.host.world = replace(contender.world, calls=[], asked=0, pause=0.0)
        runtime = self.trees.package("runtime")
        with sandbox(self.host, trees.PYTHON, runtime, contender.subject) as function:
            _, answer = function.invoke()
            require_success(contender.subject.name, answer)
            self.host.world = replace(contender.world, calls=[], asked=0, pause=pause)
            yield function

    @contextmanager
    def start(self, contender: Contender, world: World) -> Iterator[Function]:
        """Run a contender with services that give these answers, while the block runs."""
        self.host.world = world
        runtime = self.trees.package("runtime")
        with sandbox(self.host, trees.PYTHON, runtime, contender.subject) as function:
            yield function

    def first_calls(self, contender: Contender) -> list[Call]:
        """Return the network calls of a contender's cold start."""
        self.cold(contender)
        return list(self.host.world.calls)

    def warm_calls(self, contender: Contender) -> list[Call]:
        """Return the network calls of a contender's warm request."""
        with self.warm(contender, PAUSE) as function:
            function.invoke()
            return list(self.host.world.calls)

    def _reference(
        self, name: str, folder: str, layers: Sequence[Path], extra: Mapping[str, str]
    ) -> Contender:
        subject = Subject(
            name, REFERENCES / folder, layers, {**self.settings.environment, **extra}, {}
        )
        return Contender(subject, World({}, {}))


def require_success(name: str, answer: Any) -> None:
    """Raise BenchError if an answer is an error or leaves prompts unanswered."""
    if isinstance(answer, dict) and int(answer.get("statusCode", 200)) >= 400:
        raise BenchError(f"{name} refused the bench's request: {answer}")
    if isinstance(answer, dict) and answer.get("batchItemFailures"):
        raise BenchError(f"{name} did not answer the bench's prompts: {answer}")


def _uses(name: str, calls: Sequence[Call]) -> list[str]:
    """Return the services of these calls, and "jwt" and "argon2" if the function uses them."""
    ask = subjects.ask_of(name)
    uses = {call.service for call in calls}
    if ask.event is None and (ask.issues or not ask.public):
        uses.add("jwt")
    if ask.hashes:
        uses.add("argon2")
    return sorted(uses)


def _replay(call: Call) -> list[Any]:
    """Return the arguments with which the floor repeats a recorded call."""
    request = call.request
    if call.service == "sns":
        request = {"PhoneNumber": request["PhoneNumber"], "Message": request["Message"]}
    return [call.service, call.operation, request]
