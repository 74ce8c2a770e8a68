"""Every kind of answer that Gemini can give, and what our door makes of it.

Asked in a fresh process over the wire, of whatever packages it is given: those of a checkout, or of
a built layer, from which much of the SDK is left out. What was left out and is asked for even so
is an ImportError or an AttributeError there, and so no outcome that stands here.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web

from infra.local.serving import HOST, free_port, served
from infra.local.standins import gemini
from infra.local.standins.faults import StandIn
from infra.local.standins.gemini import BLOCK_REASONS, FINISH_REASONS, reply_to, tokens
from tests.support import certificates

KEY, WRONG_KEY, NOBODYS_KEY = "right-key", "wrong-key", "key-for-nobody"
TLS_KEY, IMPOSTORS_KEY = "key-for-tls", "key-for-another-host"
"""A key says whom to ask too: the door looks for the address when its key is another one."""

MODEL = "gemini-2.5-flash"
INSTRUCTION = "Be brief."
SAID, REPLIED = "What is a queue?", "A line."
TIMEOUT = 20.0

type Outcome = list[Any]
"""What the door answered or raised, as it can be written in JSON."""


@dataclass(frozen=True)
class Case:
    """One prompt, how Gemini fails with it, and what is to come of it."""

    name: str
    outcome: Outcome
    fault: Mapping[str, Any] = field(default_factory=dict)
    key: str = KEY
    model: str = MODEL
    timeout: float = TIMEOUT

    @property
    def prompt(self) -> str:
        """What is said, which no other case's prompt is a part of."""
        return f"Case: {self.name}."


def _replied(name: str, **more: Any) -> Case:
    prompt = Case(name, []).prompt
    said = [("user", SAID), ("model", REPLIED), ("user", prompt)]
    contents = [{"role": role, "parts": [{"text": text}]} for role, text in said]
    text = reply_to(contents, INSTRUCTION)
    spent = sum(tokens(one) for one in (SAID, REPLIED, prompt, INSTRUCTION))
    counted = tokens(text)
    if name == "max-tokens":
        counted //= 2
    outcome = ["reply", text[: counted * gemini.CHARACTERS_A_TOKEN], spent, counted]
    return Case(name, outcome, **more)


def _again(reason: str, after: float | None = None) -> Outcome:
    return ["try again", reason, after]


REFUSED: Outcome = ["give up", "not-accepted"]
BLOCKED: Outcome = ["give up", "blocked"]
BAD_KEY = _again("api key refused")


def _error(status: int, outcome: Outcome, **more: Any) -> Case:
    return _failing("error", status, outcome, more)


def _page(status: int, outcome: Outcome, **more: Any) -> Case:
    return _failing("page", status, outcome, more)


def _failing(kind: str, status: int, outcome: Outcome, more: Mapping[str, Any]) -> Case:
    fault = {"kind": kind, "status": status, "times": "always", **more}
    return Case(" ".join([kind, str(status), *more.values()]), outcome, fault)


def _finish(reason: str) -> Outcome:
    retried = reason in ("STOP", "MAX_TOKENS", "OTHER")
    return _again(f"empty reply ({reason})") if retried else BLOCKED


CASES = [
    Case("stall", _again("ReadTimeout"), {"kind": "stall", "seconds": 1.5}, timeout=0.5),
    _replied("reply"),
    _replied("thought", fault={"kind": "thought"}),
    _replied("max-tokens", fault={"kind": "max-tokens"}),
    *[
        Case(f"blocked {reason}", BLOCKED, {"kind": "blocked", "reason": reason})
        for reason in BLOCK_REASONS
    ],
    *[
        Case(f"finish {reason}", _finish(reason), {"kind": "finish", "reason": reason})
        for reason in FINISH_REASONS
    ],
    Case("no text", _again("empty reply (STOP)"), {"kind": "no-text"}),
    Case("empty", _again("no candidates"), {"kind": "empty"}),
    _error(400, REFUSED),
    _error(400, REFUSED, message="Request payload size exceeds the limit: 20971520 bytes."),
    _error(401, BAD_KEY),
    _error(403, BAD_KEY),
    _error(404, REFUSED),
    _error(429, _again("TooManyRequests")),
    _error(429, _again("TooManyRequests", 33.5), retryDelay="33.5s"),
    _error(429, _again("TooManyRequests"), retryDelay="soon"),
    _error(500, _again("InternalServerError")),
    _error(503, _again("ServiceUnavailable")),
    _error(503, _again("ServiceUnavailable", 7.0), retryDelay="7s"),
    _error(504, _again("GatewayTimeout")),
    _page(400, REFUSED),
    _page(401, BAD_KEY),
    _page(403, BAD_KEY),
    _page(404, REFUSED),
    _page(429, _again("TooManyRequests")),
    _page(500, _again("InternalServerError")),
    _page(502, _again("BadGateway")),
    _page(503, _again("ServiceUnavailable")),
    _page(503, _again("ServiceUnavailable"), type="application/octet-stream"),
    _page(504, _again("GatewayTimeout")),
    Case("garbage", _again("ParseError"), {"kind": "garbage"}),
    Case("drop", _again("ChunkedEncodingError"), {"kind": "drop"}),
    Case("refused connection", _again("ConnectionError"), key=NOBODYS_KEY),
    Case("wrong key", BAD_KEY, key=WRONG_KEY),
    _replied("reply over TLS", key=TLS_KEY),
    Case("another host's certificate", _again("SSLError"), key=IMPOSTORS_KEY),
    _replied("reply to the right key again"),
    Case("an unknown model", REFUSED, model="gpt-5"),
]

ASK = """
import importlib, json, os, ssl, sys
plan = json.loads(sys.argv[1])
sys.path[:0] = plan["path"]
for name in plan["first"]:
    importlib.import_module(name)
from geminichat.clients import gemini
from geminichat.domain.history import PastTurn

def outcome(case):
    os.environ["GEMINI_KEY_PARAMETER"] = case["key"]
    os.environ["GEMINI_ENDPOINT"] = case["endpoint"]
    past = [PastTurn(*plan["past"])]
    told, said = plan["instruction"], case["prompt"]
    try:
        reply = gemini.generate(case["model"], told, past, said, timeout=case["timeout"])
    except gemini.TryAgain as error:
        return ["try again", str(error), error.after]
    except gemini.GiveUp as error:
        return ["give up", error.failure.code]
    except Exception as error:
        return ["raised", repr(error)]
    return ["reply", reply.content, reply.tokens.input_tokens, reply.tokens.output_tokens]

read = []
load = ssl.SSLContext.load_verify_locations

def counted(*where, **named):
    read.append(where)
    load(*where, **named)

ssl.SSLContext.load_verify_locations = counted

found = {case["name"]: outcome(case) for case in plan["cases"]}
print(json.dumps({"outcomes": found, "modules": sorted(sys.modules), "read": len(read)}))
"""


@dataclass(frozen=True)
class Asked:
    """What one process found."""

    outcomes: Mapping[str, Outcome]
    modules: frozenset[str]
    """What was imported in the end."""
    certificates_read: int
    """How often the trusted certificates were read."""


def ask_everything(
    python: Sequence[str | Path], path: Sequence[Path], first: Sequence[str] = ()
) -> Asked:
    """Have a fresh process meet every case; `first` are modules that it imports before our door."""
    with _services() as services:
        cases = []
        for case in CASES:
            if case.fault:
                services.google.fault(**case.fault, match=case.prompt)
            names = ("name", "prompt", "key", "model", "timeout")
            asked = {name: getattr(case, name) for name in names}
            cases.append(asked | {"endpoint": services.of_keys.get(case.key, services.google.url)})
        plan = {
            "path": [str(place) for place in path],
            "first": list(first),
            "past": [SAID, REPLIED],
            "instruction": INSTRUCTION,
            "cases": cases,
        }
        done = subprocess.run(
            [*python, "-c", ASK, json.dumps(plan)],
            capture_output=True,
            text=True,
            env={**_without_bundles(), **services.environment},
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return Asked(found["outcomes"], frozenset(found["modules"]), found["read"])


def _without_bundles() -> dict[str, str]:
    """Return the environment without certificates that it may name for requests alone."""
    return {name: os.environ[name] for name in os.environ if "CA_BUNDLE" not in name}


@dataclass(frozen=True)
class _Services:
    google: StandIn
    of_keys: Mapping[str, str]
    """Where to ask with a key that is not for this one."""
    environment: Mapping[str, str]


@contextmanager
def _services() -> Iterator[_Services]:
    """Serve the stand-in for Gemini, and an SSM in which each parameter's value is its name."""

    async def parameter(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        return web.json_response({"Parameter": {"Value": asked["Name"]}})

    def ssm() -> web.Application:
        app = web.Application()
        app.router.add_post("/", parameter)
        return app

    with (
        TemporaryDirectory() as folder,
        served(lambda: gemini.create_app(KEY)) as google,
        served(
            lambda: gemini.create_app(TLS_KEY), tls=certificates.make(Path(folder, "it"))
        ) as tls,
        served(ssm) as parameters,
    ):
        yield _Services(
            google=StandIn(google),
            of_keys={
                NOBODYS_KEY: f"http://{HOST}:{free_port()}",
                TLS_KEY: tls.replace(HOST, "localhost"),
                IMPOSTORS_KEY: tls,
            },
            environment={
                "AWS_ENDPOINT_URL_SSM": parameters,
                "NO_PROXY": f"{HOST},localhost",
                "SSL_CERT_FILE": str(Path(folder, "it")),
            },
        )
