"""Models on the deployed stack: the catalogue, a retired model and the daily check."""

import json

import httpx

from tests.support.deployed import RunningStack


def test_a_prompt_to_a_retired_model_of_the_catalogue_is_answered_by_the_replacement(
    stack: RunningStack,
) -> None:
    user = stack.new_proven_user()
    listed = stack.http.get("/models", headers=user.headers).json()["data"]
    assert {"gemini-2.5-flash", "gemini-3.6-flash"} <= {one["id"] for one in listed["models"]}

    stack.gemini.fault("retired", model="gemini-2.5", times="always")
    made = {"model": "gemini-2.5-flash", "thinking": "high"}
    room = stack.http.post("/chatroom", json=made, headers=user.headers).json()["data"]["id"]
    reply = user.wait(room, user.ask(room, "Hello"))["reply"]
    assert (reply["model"], reply["requestedModel"]) == ("gemini-3.6-flash", "gemini-2.5-flash")
    assert reply["usage"]["outputTokens"] > 256


def test_the_daily_check_of_models_reads_googles_list_with_the_sdk_in_its_layer(
    stack: RunningStack,
) -> None:
    name = stack.description.functions["ModelsCheck"]
    answer = stack.aws("lambda").invoke(FunctionName=name, Payload=b"{}")
    assert "FunctionError" not in answer
    assert json.loads(answer["Payload"].read()) == {"concerns": []}


def test_a_head_request_is_answered_without_a_body(stack: RunningStack) -> None:
    for path in ("/health", "/docs", "/openapi.json"):
        answer = stack.http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_a_cors_preflight_with_tracing_headers_is_allowed(stack: RunningStack) -> None:
    asked = "authorization,content-type,sentry-trace,baggage,traceparent"
    answer: httpx.Response = stack.http.options(
        "/chatroom",
        headers={
            "origin": "https://app.example.com",
            "access-control-request-method": "POST",
            "access-control-request-headers": asked,
        },
    )
    assert answer.status_code < 300
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert {name.strip() for name in allowed.split(",")} >= set(asked.split(","))
