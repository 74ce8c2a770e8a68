"""The stand-in for Gemini, driven by google-generativeai over the wire."""

import time
from typing import Any

import google.generativeai as genai
import httpx
import pytest
import requests
from google.api_core import exceptions
from google.generativeai.types import GenerateContentResponse, RequestOptions

from geminichat.domain import titles
from infra.local.standins import gemini
from infra.local.standins.gemini import reply_to, tokens
from tests.support.standins import StandIn, run_app

MODEL = "gemini-2.5-flash"
PATIENCE = RequestOptions(timeout=2, retry=None)


@pytest.fixture(autouse=True)
def configured(google: StandIn, api_key: str) -> None:
    """The SDK of Google, connected to the stand-in."""
    connect(google, api_key)


def connect(google: StandIn, key: str) -> None:
    genai.configure(api_key=key, transport="rest", client_options={"api_endpoint": google.url})


def ask(
    contents: Any, *, model: str = MODEL, instruction: str | None = None, **options: Any
) -> GenerateContentResponse:
    asked = genai.GenerativeModel(model, system_instruction=instruction, generation_config=options)
    return asked.generate_content(contents, request_options=PATIENCE)


def test_the_reply_shows_history_and_system_instruction() -> None:
    history = [
        {"role": "user", "parts": ["Hello"]},
        {"role": "model", "parts": ["Hi!"]},
        {"role": "user", "parts": ["What is a queue?"]},
    ]
    answer = ask(history, instruction="Be brief.")
    assert answer.text == (
        "You said: What is a queue? (turn 2; before that: Hello; told: Be brief.)"
    )
    wire = [{"role": turn["role"], "parts": [{"text": turn["parts"][0]}]} for turn in history]
    assert answer.text == reply_to(wire, "Be brief.")


def test_a_stream_has_three_chunks_with_the_reply_and_its_usage() -> None:
    asked = genai.GenerativeModel(MODEL)
    stream = asked.generate_content("Hello", stream=True, request_options=PATIENCE)
    pieces = [chunk.text for chunk in stream]
    assert len(pieces) == 3
    assert "".join(pieces) == "You said: Hello (turn 1)"
    assert stream.usage_metadata.candidates_token_count == tokens("".join(pieces))
    assert stream.candidates[0].finish_reason.name == "STOP"


def test_a_reply_that_is_longer_than_its_limit_is_cut_off() -> None:
    answer = ask("Hello", max_output_tokens=3)
    assert answer.text == "You said: He"
    assert answer.candidates[0].finish_reason.name == "MAX_TOKENS"


def test_a_request_to_gemini_without_a_key_is_refused_and_a_key_in_the_query_is_accepted(
    google: StandIn, api_key: str
) -> None:
    url = f"{google.url}/v1beta/models/{MODEL}:generateContent"
    body = {"contents": [{"parts": [{"text": "Hello"}]}]}
    assert httpx.post(url, json=body).status_code == 403
    answer = httpx.post(url, json=body, params={"key": api_key})
    assert answer.status_code == 200
    assert answer.json()["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"contents": []}',
        b'{"contents": ["Hello"]}',
        b'{"contents": [{"role": "user", "parts": [{"text": ""}]}]}',
        b'{"contents": [{"role": "system", "parts": [{"text": "Hello"}]}]}',
        b'{"contents": [{"role": "model", "parts": [{"text": "Hello"}]}]}',
    ],
)
def test_a_request_that_google_would_refuse_is_refused(
    google: StandIn, api_key: str, body: bytes
) -> None:
    url = f"{google.url}/v1beta/models/{MODEL}:generateContent"
    answer = httpx.post(url, content=body, headers={"x-goog-api-key": api_key})
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_the_stand_in_for_gemini_records_the_requests(google: StandIn) -> None:
    before = time.time()
    ask("Hello", instruction="Be brief.", temperature=0.5)
    [seen] = google.requests()
    assert before <= seen.pop("time") <= time.time()
    assert seen == {
        "model": MODEL,
        "method": "generateContent",
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "systemInstruction": "Be brief.",
        "generationConfig": {"temperature": 0.5},
    }


class TestFaults:
    """The stand-in's faults, as the SDK reports them."""

    def test_the_fault_drop_cuts_off_a_stream_after_its_first_chunk(self, google: StandIn) -> None:
        google.fault("drop")
        asked = genai.GenerativeModel(MODEL)
        stream = asked.generate_content("Hello", stream=True, request_options=PATIENCE)
        chunks = iter(stream)
        assert next(chunks).text == "You said"
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            next(chunks)

    def test_a_fault_that_names_a_model_affects_that_model_only(self, google: StandIn) -> None:
        google.fault("retired", model="gemini-2.5", times="always")
        for _ in range(2):
            with pytest.raises(exceptions.NotFound, match="no longer available to new users"):
                ask("Hello")
        assert ask("Hello", model="gemini-3.6-flash").text == "You said: Hello (turn 1)"

    def test_a_fault_can_send_any_answer_at_any_pace(self, google: StandIn, api_key: str) -> None:
        url = f"{google.url}/v1beta/models/{MODEL}:streamGenerateContent"
        body = {"contents": [{"parts": [{"text": "Hello"}]}]}
        key = {"x-goog-api-key": api_key}

        google.fault("answer", status=418, body="teapot", type="text/plain")
        answer = httpx.post(url, json=body, headers=key)
        assert (answer.status_code, answer.text) == (418, "teapot")
        assert answer.headers["content-type"] == "text/plain"

        told = {"events": [{"a": 1}, {"error": {"code": 503}}], "pause": 0.1, "hold": 0.1}
        for sse, text in (
            ({"alt": "sse"}, 'data: {"a": 1}\r\n\r\ndata: {"error": {"code": 503}}\r\n\r\n'),
            ({}, '[{"a": 1},{"error": {"code": 503}}]'),
        ):
            google.fault("answer", **told)
            began = time.monotonic()
            assert httpx.post(url, json=body, headers=key, params=sse).text == text
            assert time.monotonic() - began >= 0.3

    def test_faults_apply_in_the_order_in_which_they_were_added(self, google: StandIn) -> None:
        google.fault("error", status=503, times=2)
        google.fault("error", status=500)
        for error in (
            exceptions.ServiceUnavailable,
            exceptions.ServiceUnavailable,
            exceptions.InternalServerError,
        ):
            with pytest.raises(error):
                ask("Hello")
        assert ask("Hello").text == "You said: Hello (turn 1)"


@pytest.mark.parametrize(("level", "thoughts"), gemini.THOUGHTS.items())
def test_the_thinking_level_sets_the_number_of_billed_thoughts(
    google: StandIn, api_key: str, level: str, thoughts: int
) -> None:
    url = f"{google.url}/v1beta/models/{MODEL}:generateContent"
    config = {"thinkingConfig": {"thinkingLevel": level}, "maxOutputTokens": 20}
    body = {"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": config}
    answer = httpx.post(url, json=body, headers={"x-goog-api-key": api_key}).json()
    used = answer["usageMetadata"]
    assert used["totalTokenCount"] - used["promptTokenCount"] == min(20, thoughts + 6)
    assert answer["candidates"][0]["finishReason"] == ("STOP" if thoughts < 15 else "MAX_TOKENS")


def test_the_sdk_lists_the_models_that_a_key_may_use(google: StandIn) -> None:
    assert [model.name for model in genai.list_models(page_size=3)] == [
        f"models/{name}" for name in gemini.MODELS
    ]
    connect(google, "guess")
    with pytest.raises(exceptions.BadRequest, match="API key not valid"):
        list(genai.list_models())


def test_a_title_has_the_first_words_of_the_prompt_and_no_words_of_the_reply() -> None:
    question = titles.question("Hello there", "You said: Hello there (turn 1)")
    asked = [{"parts": [{"text": question}]}]
    assert reply_to(asked, titles.INSTRUCTION) == "Chat about Hello there"


def test_every_answer_waits_for_the_configured_delay(api_key: str) -> None:
    with run_app(lambda: gemini.create_app(api_key, delay=0.3)) as url:
        connect(StandIn(url), api_key)
        started = time.monotonic()
        assert ask("Hello").text == "You said: Hello (turn 1)"
        assert time.monotonic() - started >= 0.3
