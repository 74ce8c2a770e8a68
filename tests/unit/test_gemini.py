"""The outcome of each Gemini answer in our HTTP client and in google-generativeai."""

import functools
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp import web

from geminichat.clients import gemini as client
from geminichat.domain.messages import Reply
from geminichat.domain.text import trim_lines
from infra.local.standins import gemini
from infra.local.standins.gemini import ERRORS, FAULTS
from infra.template import ROOT
from tests.support.gemini_answers import (
    CASES,
    INPUTS,
    STREAMED,
    Asked,
    Case,
    ask_googles,
    ask_ours,
)
from tests.support.standins import StandIn, run_app

PYTHON = [sys.executable, "-W", "ignore"]


@functools.cache
def ours() -> Asked:
    return ask_ours(PYTHON, [ROOT / "layers" / "core"])


@functools.cache
def googles() -> Asked:
    return ask_googles(PYTHON)


@pytest.mark.parametrize("case", [*CASES, *STREAMED], ids=lambda case: case.name)
def test_every_gemini_answer_gives_the_expected_reply_or_error(case: Case) -> None:
    assert ours().outcomes[case.name] == case.outcome


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_googles_sdk_can_read_the_answers_of_the_stand_in(case: Case) -> None:
    assert googles().outcomes[case.name] == case.googles


def test_the_gemini_cases_cover_every_fault_with_each_of_its_settings() -> None:
    met = [case.fault for case in [*CASES, *STREAMED] if case.fault]
    assert {fault["kind"] for fault in met} == set(FAULTS)
    assert {fault["status"] for fault in met if fault["kind"] == "error"} == set(ERRORS)
    for kind, setting in (("page", "status"), ("blocked", "reason"), ("finish", "reason")):
        named = {fault[setting] for fault in met if fault["kind"] == kind}
        assert named == set(FAULTS[kind][setting])  # type: ignore[arg-type]


def test_every_recorded_answer_of_google_has_a_case() -> None:
    assert {path.stem for path in INPUTS.glob("*.json")} <= {case.name for case in CASES}


def test_the_trusted_certificates_are_read_once_for_all_connections() -> None:
    assert ours().certificates_read == 1


def test_our_gemini_client_imports_no_sdk() -> None:
    assert not {name for name in ours().modules if name.startswith(("google.", "requests", "grpc"))}


def random_exchange(chance: random.Random) -> tuple[list[dict[str, Any]], str, tuple[int, int]]:
    """Return the events of a random stream, their text, and the tokens that Google bills."""
    spent, thoughts, written = (chance.randrange(0, 5_000) for _ in range(3))
    thought = {"text": "I think.", "thought": True, "thoughtSignature": "c2ln"}
    events, text = [_event(thought) for _ in range(chance.randrange(0, 4))], ""
    for _ in range(chance.randrange(1, 6)):
        piece = "".join(chance.choices("aé漢🙂 \n", k=chance.randrange(1, 30)))
        text += piece
        events.append(_event({"text": piece}))
        if chance.random() < 0.3:  # Google sometimes sends intermediate counts
            events[-1]["usageMetadata"] = {"promptTokenCount": spent, "totalTokenCount": spent + 1}
    text += "."
    events.append(_event({"text": "."}))
    events[-1]["candidates"][0]["finishReason"] = "STOP"
    usage = {"promptTokenCount": spent, "totalTokenCount": spent + thoughts + written}
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if chance.random() < 0.9:  # Google sometimes leaves it out
        usage["candidatesTokenCount"] = written
    events[-1]["usageMetadata"] = usage
    return events, text, (spent, thoughts + written)


def _ask(question: client.Question) -> Reply:
    generation = client.Generation(question, silence=5, whole=10)
    list(generation)
    return generation.reply()


def _event(part: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]}


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(client, "secret", lambda _: "key")
    return "key"


@pytest.mark.usefixtures("key")
def test_tokens_are_counted_as_billed_in_1000_random_exchanges_with_thoughts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(14)
    exchanges = [random_exchange(chance) for _ in range(1_000)]
    waiting = iter(exchanges)

    async def answer(request: web.Request) -> web.StreamResponse:
        events, _, _ = next(waiting)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        left = b"".join(
            b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\r\n\r\n"
            for event in events
        )
        while left:
            size = chance.randrange(1, 200)
            await response.write(left[:size])
            left = left[size:]
        await response.write_eof()
        return response

    def app() -> web.Application:
        made = web.Application()
        made.router.add_post("/v1beta/models/{call}", answer)
        return made

    with run_app(app) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        for _, text, billed in exchanges:
            question = client.Question(model="gemini-3.6-flash", prompt="Hello")
            reply = _ask(question)
            assert reply.content == trim_lines(text, "content")
            assert (reply.tokens.input_tokens, reply.tokens.output_tokens) == billed


@pytest.mark.usefixtures("key")
def test_a_stopped_reply_keeps_the_text_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_app(lambda: gemini.create_app("key")) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        events = [_event({"text": f"{number} "}) for number in range(50)]
        StandIn(url).fault("answer", events=events, pause=0.05)
        question = client.Question(model="gemini-3.6-flash", prompt="Hello")
        generation = client.Generation(question, silence=5, whole=10)
        began = time.monotonic()
        for number, _ in enumerate(generation):
            if number == 2:
                generation.stop()
        assert time.monotonic() - began < 2
        reply = generation.reply()
    assert (reply.content, reply.finish) == ("0 1 2", "stopped")
    assert reply.tokens.input_tokens == len("Hello") // 2 + 1
    assert reply.tokens.output_tokens == len("0 1 2") // 2 + 1


@pytest.mark.usefixtures("key")
def test_a_reply_can_be_stopped_before_its_first_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_app(lambda: gemini.create_app("key")) as url, ThreadPoolExecutor() as pool:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        StandIn(url).fault("stall", seconds=5)
        question = client.Question(model="gemini-3.6-flash", prompt="Hello")
        generation = client.Generation(question, silence=5, whole=10)
        pieces = pool.submit(list, generation)
        while not StandIn(url).requests():
            time.sleep(0.01)
        generation.stop()
        assert pieces.result(timeout=1) == []
    assert (generation.reply().content, generation.reply().finish) == ("", "stopped")


@pytest.mark.usefixtures("key")
def test_stopping_a_generation_that_has_ended_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with run_app(lambda: gemini.create_app("key")) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        question = client.Question(model="gemini-3.6-flash", prompt="Hello")
        generation = client.Generation(question, silence=5, whole=10)
        assert "".join(generation) == generation.reply().content
        generation.stop()
    assert generation.reply().finish == "complete"


@pytest.mark.parametrize(
    ("prompt", "total", "expected"),
    [(8, 10**18, (8, 9_999_992)), (10**18, 10**18, (10_000_000, 0)), (-5, -3, (0, 0))],
)
@pytest.mark.usefixtures("key")
def test_an_implausible_token_count_is_limited(
    prompt: int, total: int, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_app(lambda: gemini.create_app("key")) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        event = _event({"text": "Hello."})
        event["candidates"][0]["finishReason"] = "STOP"
        event["usageMetadata"] = {"promptTokenCount": prompt, "totalTokenCount": total}
        StandIn(url).fault("answer", events=[event])
        question = client.Question(model="gemini-3.6-flash", prompt="Hello")
        tokens = _ask(question).tokens
    assert (tokens.input_tokens, tokens.output_tokens) == expected


@pytest.mark.usefixtures("key")
def test_an_api_key_in_googles_error_is_removed_from_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "secret", lambda _: "AIzaSecret")
    with run_app(lambda: gemini.create_app("AIzaSecret")) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        message = "Consumer 'api_key:AIzaSecret' has been suspended."
        StandIn(url).fault("error", status=403, message=message)
        question = client.Question(model="gemini-3.6-flash", prompt="Hello")
        with pytest.raises(client.KeyRefused, match=r"api_key:\[key\]' has been suspended"):
            _ask(question)
