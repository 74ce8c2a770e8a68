"""Each kind of Gemini answer, with the outcome in our client and in google-generativeai.

Both clients call the stand-in over HTTP from a fresh process. Our client runs with the packages of
a checkout or of a built layer; google-generativeai is unchanged. The outcomes in Google's client
show that the stand-in speaks Google's protocol.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiohttp import web

from infra.local.serving import HOST, free_port
from infra.local.standins import gemini
from infra.local.standins.gemini import BLOCK_REASONS, FINISH_REASONS, reply_to, tokens
from tests.support import certificates
from tests.support.standins import StandIn, run_app

KEY, WRONG_KEY, NO_SERVERS_KEY = "right-key", "wrong-key", "key-without-server"
TLS_KEY, IMPOSTORS_KEY = "key-for-tls", "key-for-another-host"
"""The API key of a case also selects the server that the client calls."""

MODEL = "gemini-3.6-flash"
INSTRUCTION = "Be brief."
SAID, REPLIED = "What is a queue?", "A line."
WHOLE, SILENCE = 20.0, 10.0

INPUTS = Path(__file__).with_name("gemini_inputs")
"""Real answers by Google; our client once handled some of them wrongly."""

type Outcome = list[Any]
"""The reply or error of a client, as JSON."""


@dataclass(frozen=True)
class Case:
    """A prompt, the stand-in's fault, and the expected outcomes of both clients."""

    name: str
    outcome: Outcome
    googles: Outcome
    fault: Mapping[str, Any] = field(default_factory=dict)
    key: str = KEY
    model: str = MODEL
    silence: float = SILENCE
    whole: float = WHOLE

    @property
    def prompt(self) -> str:
        """The prompt's text, which is unique among the cases."""
        return f"Case: {self.name}."


# ── Outcomes ────────────────────────────────────────────────────────────────────────────────────


def _failure(kind: str, code: str, after: float | None = None) -> Outcome:
    return ["error", kind, code, after, None]


def _unavailable(after: float | None = None) -> Outcome:
    return _failure("Unavailable", "gemini-unavailable", after)


KEY_REFUSED = _failure("KeyRefused", "service-refused")
REFUSED = _failure("Refused", "service-refused")
RETIRED = _failure("Retired", "model-retired")
NOT_ACCEPTED = _failure("Declined", "not-accepted")
TOO_LONG = _failure("Declined", "prompt-too-long")


def _exception(name: str) -> Outcome:
    return ["raised", name]


def _with_tokens(outcome: Outcome, spent: int, output: int) -> Outcome:
    return [*outcome[:4], [spent, output]]


def _tokens(name: str) -> int:
    texts = (SAID, REPLIED, Case(name, [], []).prompt, INSTRUCTION)
    return sum(tokens(text) for text in texts)


# ── Cases ───────────────────────────────────────────────────────────────────────────────────────


def _reply(name: str, *, finish: str = "complete", thoughts: int = 0, **more: Any) -> Case:
    prompt = Case(name, [], []).prompt
    said = [("user", SAID), ("model", REPLIED), ("user", prompt)]
    contents = [{"role": role, "parts": [{"text": text}]} for role, text in said]
    text = reply_to(contents, INSTRUCTION)
    counted = tokens(text)
    if finish == "length":
        counted //= 2
        text = text[: counted * gemini.CHARACTERS_A_TOKEN]
    outcome = ["reply", text, _tokens(name), counted + thoughts, finish, MODEL]
    shown = gemini.THOUGHT + text if thoughts else text
    reason = "MAX_TOKENS" if finish == "length" else "STOP"
    return Case(name, outcome, ["reply", shown, reason, _tokens(name), counted], **more)


def _empty(name: str, outcome: Outcome, googles: Outcome, fault: Mapping[str, Any]) -> Case:
    """Return a case in which Gemini counts the prompt's tokens, but sends no reply."""
    return Case(name, _with_tokens(outcome, _tokens(name), 0), googles, fault)


def _block(reason: str) -> Case:
    name = f"blocked {reason}"
    fault = {"kind": "blocked", "reason": reason}
    googles = ["reply", "", f"blocked {reason}", _tokens(name), 0]
    return _empty(name, _failure("Declined", "blocked"), googles, fault)


def _finish(reason: str) -> Case:
    name = f"finish {reason}"
    outcome = {
        "STOP": _unavailable(),
        "OTHER": _unavailable(),
        "MAX_TOKENS": _failure("Declined", "reply-too-long"),
        "RECITATION": _failure("Recited", "recitation"),
    }.get(reason, _failure("Declined", "blocked"))
    googles = ["reply", "", reason, _tokens(name), 0]
    return _empty(name, outcome, googles, {"kind": "finish", "reason": reason})


def _error(status: int, outcome: Outcome, googles: str, **more: Any) -> Case:
    return _status("error", status, outcome, googles, more)


def _page(status: int, outcome: Outcome, googles: str, **more: Any) -> Case:
    return _status("page", status, outcome, googles, more)


def _status(
    kind: str, status: int, outcome: Outcome, googles: str, more: Mapping[str, Any]
) -> Case:
    fault = {"kind": kind, "status": status, "times": "always", **more}
    return Case(" ".join([kind, str(status), *more.values()]), outcome, _exception(googles), fault)


def _answer(name: str, outcome: Outcome, googles: Outcome, **fault: Any) -> Case:
    return Case(name, outcome, googles, {"kind": "answer", "times": "always", **fault})


def _input(name: str, outcome: Outcome, googles: Outcome) -> Case:
    """Return a case with a recorded answer, which is a file in `INPUTS`."""
    told = json.loads((INPUTS / f"{name}.json").read_text())
    if told["status"] == 200:
        return _answer(name, outcome, googles, events=[told["body"]])
    return _answer(name, outcome, googles, status=told["status"], body=told["body"])


def _chunk(text: str, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}
    return {"candidates": [candidate]}


USED = {"promptTokenCount": 8, "totalTokenCount": 20, "candidatesTokenCount": 12}
DONE = {**_chunk("end", finishReason="STOP"), "usageMetadata": USED}

CASES = [
    _reply("reply"),
    _reply("thought", thoughts=100, fault={"kind": "thought"}),
    _reply("cut off", finish="length", fault={"kind": "max-tokens"}),
    *map(_block, BLOCK_REASONS),
    *map(_finish, FINISH_REASONS),
    _empty(
        "no text", _unavailable(), ["reply", "", "STOP", _tokens("no text"), 0], {"kind": "no-text"}
    ),
    _empty("empty", _unavailable(), ["reply", "", "", _tokens("empty"), 0], {"kind": "empty"}),
    Case("retired", RETIRED, _exception("NotFound"), {"kind": "retired", "times": "always"}),
    _error(400, NOT_ACCEPTED, "BadRequest"),
    _error(
        400, TOO_LONG, "BadRequest", message="Request payload size exceeds the limit: 20971520."
    ),
    _error(401, KEY_REFUSED, "Unauthorized"),
    _error(403, KEY_REFUSED, "Forbidden"),
    _error(404, RETIRED, "NotFound"),
    _error(429, _unavailable(), "TooManyRequests"),
    _error(429, _unavailable(33.5), "TooManyRequests", retryDelay="33.5s"),
    _error(429, _unavailable(), "TooManyRequests", retryDelay="soon"),
    _error(500, _unavailable(), "InternalServerError"),
    _error(503, _unavailable(), "ServiceUnavailable"),
    _error(503, _unavailable(7.0), "ServiceUnavailable", retryDelay="7s"),
    _error(504, _unavailable(), "GatewayTimeout"),
    _page(400, NOT_ACCEPTED, "BadRequest"),
    _page(401, KEY_REFUSED, "Unauthorized"),
    _page(403, KEY_REFUSED, "Forbidden"),
    _page(404, RETIRED, "NotFound"),
    _page(429, _unavailable(), "TooManyRequests"),
    _page(500, _unavailable(), "InternalServerError"),
    _page(502, _unavailable(), "BadGateway"),
    _page(503, _unavailable(), "ServiceUnavailable"),
    _page(503, _unavailable(), "ServiceUnavailable", type="application/octet-stream"),
    _page(504, _unavailable(), "GatewayTimeout"),
    _answer("nothing 400", NOT_ACCEPTED, _exception("BadRequest"), status=400),
    _answer("nothing 402", REFUSED, _exception("GoogleAPICallError"), status=402),
    _answer("nothing 413", TOO_LONG, _exception("GoogleAPICallError"), status=413),
    _answer("nothing 429", _unavailable(), _exception("TooManyRequests"), status=429),
    _answer("nothing 503", _unavailable(), _exception("ServiceUnavailable"), status=503),
    _answer(
        "a string 503", _unavailable(), _exception("AttributeError"), status=503, body='"busy"'
    ),
    _answer("nothing 200", _unavailable(), _exception("ParseError")),
    Case(
        "garbage", _unavailable(), _exception("ParseError"), {"kind": "garbage", "times": "always"}
    ),
    Case(
        "drop",
        _unavailable(),
        _exception("ChunkedEncodingError"),
        {"kind": "drop", "times": "always"},
    ),
    _input(
        "code-exec-parts",
        ["reply", "It is 42.", 8, 12, "complete", "gemini-2.5-flash"],
        ["reply", "It is 42.", "STOP", 8, 12],
    ),
    _input("daily-quota-429", REFUSED, _exception("TooManyRequests")),
    _input("error-in-200", _unavailable(), ["reply", "", "", 0, 0]),
    _input("list400", NOT_ACCEPTED, _exception("AttributeError")),
    _input("list429", _unavailable(9.0), _exception("AttributeError")),
    _input("location-400", REFUSED, _exception("BadRequest")),
    _input(
        "max-tokens-cut",
        ["reply", "The first half of an answer that was cut", 8, 12, "length", "gemini-2.5-flash"],
        ["reply", "The first half of an answer that was cut", "MAX_TOKENS", 8, 12],
    ),
    _input(
        "max-tokens-only-thoughts",
        _with_tokens(_failure("Declined", "reply-too-long"), 1706, 2999),
        ["reply", "", "MAX_TOKENS", 1706, 0],
    ),
    _input("model-retired-404", RETIRED, _exception("NotFound")),
    _input(
        "nul-in-reply",
        ["reply", "beforeafter", 8, 12, "complete", "gemini-2.5-flash"],
        ["reply", "before\0after", "STOP", 8, 12],
    ),
    _input(
        "thinking-usage",
        ["reply", "Forty-two.", 15, 1020, "complete", "gemini-2.5-flash"],
        ["reply", "Forty-two.", "STOP", 15, 359],
    ),
    _input(
        "thought-part",
        ["reply", "Forty-two.", 8, 12, "complete", "gemini-2.5-flash"],
        [
            "reply",
            "**Considering the question** The user wants X. I must not mention Y.Forty-two.",
            "STOP",
            8,
            12,
        ],
    ),
    _input(
        "zero-width-reply",
        _with_tokens(_unavailable(), 8, 12),
        ["reply", "\u200b\u2060", "STOP", 8, 12],
    ),
    Case("refused connection", _unavailable(), _exception("ConnectionError"), key=NO_SERVERS_KEY),
    Case("wrong key", KEY_REFUSED, _exception("BadRequest"), key=WRONG_KEY),
    _reply("reply over TLS", key=TLS_KEY),
    Case("another host's certificate", _unavailable(), _exception("SSLError"), key=IMPOSTORS_KEY),
    _reply("reply to the right key again"),
    Case("an unknown model", RETIRED, _exception("NotFound"), model="gpt-5"),
]
"""The cases for both clients."""

STREAMED = [
    _answer(
        "an error in the middle",
        _with_tokens(_unavailable(), 8, 0),
        [],
        events=[
            {
                **_chunk("Half of it"),
                "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8},
            },
            {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
        ],
    ),
    _answer("an end without a reason", _unavailable(), [], events=[_chunk("Half of it")]),
    _answer(
        "an unknown reason and unknown parts",
        ["reply", "It is 42.", 8, 12, "complete", MODEL],
        [],
        events=[
            {
                "candidates": [
                    {"content": {"parts": [{"hologram": {"depth": 3}}, {"text": "It is "}]}}
                ]
            },
            {**_chunk("42.", finishReason="ENLIGHTENED"), "usageMetadata": USED, "mood": "good"},
        ],
    ),
    _answer(
        "nulls",
        ["reply", "end", 8, 12, "complete", MODEL],
        [],
        events=[
            {"candidates": None, "promptFeedback": {"blockReason": None}, "modelVersion": None},
            {"candidates": [{"content": {"parts": None}, "finishReason": None}]},
            {"candidates": [{"content": {"parts": [{"text": None}]}}], "usageMetadata": None},
            DONE,
        ],
    ),
    _answer(
        "numbers for names",
        ["reply", "end", 8, 12, "length", MODEL],
        [],
        events=[{**_chunk("end", finishReason=2), "usageMetadata": USED}],
    ),
    _answer(
        "a stream that a proxy put together",
        ["reply", "Half of it, end", 8, 12, "complete", MODEL],
        [],
        body=[_chunk("Half of it, "), DONE],
    ),
    _answer(
        "a long answer",
        ["reply", "x" * 15 + "end", 8, 12, "complete", MODEL],
        [],
        events=[_chunk("x")] * 15 + [DONE],
        pause=0.05,
    ),
    replace(
        _answer(
            "a drip without end",
            _failure("TooSlow", "reply-too-slow"),
            [],
            events=[_chunk("x")],
            pause=0.05,
            repeat=1000,
        ),
        silence=0.4,
        whole=0.6,
    ),
    replace(
        _answer(
            "a stall after half",
            _failure("Silent", "timed-out"),
            [],
            events=[_chunk("Half of it")],
            hold=30,
        ),
        silence=0.4,
        whole=5.0,
    ),
    Case(
        "a stall before anything",
        _failure("Silent", "timed-out"),
        [],
        {"kind": "stall", "seconds": 2, "times": "always"},
        silence=0.4,
        whole=5.0,
    ),
    _answer(
        "5 MB of text",
        ["reply", "x" * 350_000, 8, 12, "length", MODEL],
        [],
        events=[*[_chunk("x" * 50_000)] * 100, DONE],
    ),
    _answer("an event of 9 MB", _unavailable(), [], events=[_chunk("x" * 9_000_000), DONE]),
]
"""The cases that only a streamed reply can have, for our client only."""

OURS = """
import json, os, ssl, sys
plan = json.loads(sys.argv[1])
sys.path[:0] = plan["path"]
from geminichat.clients import gemini
from geminichat.domain.history import PastTurn

def outcome(case):
    os.environ["GEMINI_KEY_PARAMETER"] = case["key"]
    os.environ["GEMINI_ENDPOINT"] = case["endpoint"]
    question = gemini.Question(
        model=case["model"],
        prompt=case["prompt"],
        past=[PastTurn(*plan["past"])],
        system_instruction=plan["instruction"],
    )
    try:
        generation = gemini.Generation(question, silence=case["silence"], whole=case["whole"])
        list(generation)
        reply = generation.reply()
    except gemini.GeminiError as error:
        used = error.tokens and [error.tokens.input_tokens, error.tokens.output_tokens]
        return ["error", type(error).__name__, error.failure.code, error.after, used]
    except Exception as error:
        return ["raised", repr(error)]
    used = reply.tokens
    told = [reply.content, used.input_tokens, used.output_tokens, reply.finish, reply.model]
    return ["reply", *told]

read = []
load = ssl.SSLContext.load_verify_locations

def counted(*where, **named):
    read.append(where)
    load(*where, **named)

ssl.SSLContext.load_verify_locations = counted

found = {case["name"]: outcome(case) for case in plan["cases"]}
print(json.dumps({"outcomes": found, "modules": sorted(sys.modules), "read": len(read)}))
"""

GOOGLES = """
import json, sys
plan = json.loads(sys.argv[1])
import google.generativeai as genai
from google.generativeai.types import RequestOptions

def outcome(case):
    genai.configure(
        api_key=case["key"], transport="rest", client_options={"api_endpoint": case["endpoint"]}
    )
    model = genai.GenerativeModel(case["model"], system_instruction=plan["instruction"])
    said, replied = plan["past"]
    contents = [
        {"role": "user", "parts": [said]},
        {"role": "model", "parts": [replied]},
        {"role": "user", "parts": [case["prompt"]]},
    ]
    try:
        options = RequestOptions(timeout=case["whole"], retry=None)
        answer = model.generate_content(contents, request_options=options)
    except Exception as error:
        return ["raised", type(error).__name__]
    text, reason = "", ""
    if answer.prompt_feedback.block_reason:
        reason = f"blocked {answer.prompt_feedback.block_reason.name}"
    for candidate in answer.candidates:
        reason = candidate.finish_reason.name
        text += "".join(part.text for part in candidate.content.parts)
    used = answer.usage_metadata
    return ["reply", text, reason, used.prompt_token_count, used.candidates_token_count]

found = {case["name"]: outcome(case) for case in plan["cases"]}
print(json.dumps({"outcomes": found, "modules": sorted(sys.modules), "read": 0}))
"""


@dataclass(frozen=True)
class Asked:
    """The outcomes of all cases in one process."""

    outcomes: Mapping[str, Outcome]
    modules: frozenset[str]
    """The modules that were imported by the end."""
    certificates_read: int
    """The number of times that the trusted certificates were read."""


def ask_ours(python: Sequence[str | Path], path: Sequence[Path]) -> Asked:
    """Send every prompt with our client, from a fresh process with these packages."""
    return _ask(OURS, python, path, [*CASES, *STREAMED])


def ask_googles(python: Sequence[str | Path]) -> Asked:
    """Send every prompt with the unchanged google-generativeai, from a fresh process."""
    return _ask(GOOGLES, python, [], CASES)


def _ask(
    program: str, python: Sequence[str | Path], path: Sequence[Path], asked: Sequence[Case]
) -> Asked:
    with _services() as services:
        cases = []
        for case in asked:
            if case.fault:
                services.google.fault(**case.fault, match=case.prompt)
            names = ("name", "prompt", "key", "model", "silence", "whole")
            told = {name: getattr(case, name) for name in names}
            cases.append(told | {"endpoint": services.of_keys.get(case.key, services.google.url)})
        plan = {
            "path": [str(place) for place in path],
            "past": [SAID, REPLIED],
            "instruction": INSTRUCTION,
            "cases": cases,
        }
        done = subprocess.run(
            [*python, "-c", program, json.dumps(plan)],
            capture_output=True,
            text=True,
            env={**_without_bundles(), **services.environment},
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return Asked(found["outcomes"], frozenset(found["modules"]), found["read"])


def _without_bundles() -> dict[str, str]:
    """Return the environment without the variables that name certificate bundles."""
    return {name: os.environ[name] for name in os.environ if "CA_BUNDLE" not in name}


@dataclass(frozen=True)
class _Services:
    google: StandIn
    of_keys: Mapping[str, str]
    """The server's URL for each API key."""
    environment: Mapping[str, str]


@contextmanager
def _services() -> Iterator[_Services]:
    """Serve the stand-in for Gemini, and an SSM in which every parameter's value is its name."""

    async def parameter(request: web.Request) -> web.Response:
        asked = json.loads(await request.read())
        return web.json_response({"Parameter": {"Value": asked["Name"]}})

    def ssm() -> web.Application:
        app = web.Application()
        app.router.add_post("/", parameter)
        return app

    with (
        TemporaryDirectory() as folder,
        run_app(lambda: gemini.create_app(KEY)) as google,
        run_app(
            lambda: gemini.create_app(TLS_KEY), tls=certificates.make(Path(folder, "it"))
        ) as tls,
        run_app(ssm) as parameters,
    ):
        yield _Services(
            google=StandIn(google),
            of_keys={
                NO_SERVERS_KEY: f"http://{HOST}:{free_port()}",
                TLS_KEY: tls.replace(HOST, "localhost"),
                IMPOSTORS_KEY: tls,
            },
            environment={
                "AWS_ENDPOINT_URL_SSM": parameters,
                "NO_PROXY": f"{HOST},localhost",
                "SSL_CERT_FILE": str(Path(folder, "it")),
                "REQUESTS_CA_BUNDLE": str(Path(folder, "it")),
            },
        )
