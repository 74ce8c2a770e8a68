"""Models: the catalogue, retired models, the daily check, and the counts of tokens."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from geminichat import config
from geminichat.tables import usage
from infra.local.standins import gemini
from tests.support.lambdas import Poller, invoke
from tests.support.person import Person
from tests.support.standins import StandIn
from tests.support.stored import messages_in

RETIRED = {"kind": "retired", "model": "gemini-2.5", "times": "always"}


@pytest.fixture(autouse=True)
def fresh_catalogue() -> Iterator[None]:
    config.catalogue.cache_clear()
    yield
    config.catalogue.cache_clear()


def patch_catalogue(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setenv("MODELS_PATCH", json.dumps(changes))
    config.catalogue.cache_clear()


def fetch_all(user: Person, rooms: list[str], messages: list[str]) -> list[dict[str, Any]]:
    return [
        user.fetch_message(room, message) for room, message in zip(rooms, messages, strict=True)
    ]


# ── The catalogue ───────────────────────────────────────────────────────────────────────────────


def test_the_list_of_models_shows_which_models_a_plan_includes(
    basic_user: Person, pro_user: Person
) -> None:
    basic, pro = (user.get("/models").data for user in (basic_user, pro_user))
    assert basic["default"] == "fast"
    by_id = {model["id"]: model for model in basic["models"]}
    assert by_id["gemini-3.5-flash-lite"] == {
        "id": "gemini-3.5-flash-lite",
        "name": "Gemini 3.5 Flash-Lite",
        "aliases": ["fast"],
        "price": {"input": 0.3, "output": 2.5},
        "thinking": ["minimal", "low", "medium", "high"],
        "maxOutputTokens": 8_192,
        "available": True,
        "retires": None,
        "replacedBy": None,
    }
    assert by_id["gemini-2.5-flash"]["retires"] == "2026-12-01"
    assert not by_id["gemini-3.8-flash"]["available"]
    assert all(model["available"] for model in pro["models"])


def test_a_new_room_has_the_default_model_and_no_thinking_level(basic_user: Person) -> None:
    room = basic_user.get(f"/chatroom/{basic_user.open_room()}").data
    assert (room["model"], room["thinking"]) == ("fast", None)


def test_a_model_that_the_plan_does_not_include_cannot_be_chosen(
    basic_user: Person, pro_user: Person
) -> None:
    room = basic_user.open_room()
    for name in ("best", "gemini-3.8-flash", "gemini-2.5-pro"):
        for reply in (
            basic_user.request("POST", "/chatroom", json={"model": name}),
            basic_user.request("PATCH", f"/chatroom/{room}", json={"model": name}),
        ):
            assert reply.status == 403
            assert reply.json["type"].endswith(":model-not-included")
        assert pro_user.request("POST", "/chatroom", json={"model": name}).status == 201


def test_a_room_with_a_model_that_is_not_in_the_catalogue_is_a_400(pro_user: Person) -> None:
    reply = pro_user.request("POST", "/chatroom", json={"model": "gpt-5"})
    assert reply.status == 400
    assert reply.json["errors"][0]["pointer"] == "/model"


def test_a_room_is_answered_by_the_default_model_if_the_plan_no_longer_includes_its_model(
    pro_user: Person, worker: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = pro_user.open_room(model="best")
    patch_catalogue(monkeypatch, models={"gemini-3.8-flash": {"plans": []}})
    message = pro_user.ask(room)
    worker.drain()
    reply = pro_user.fetch_message(room, message)["reply"]
    assert (reply["model"], reply["requestedModel"]) == ("gemini-3.5-flash-lite", "best")


def test_the_thinking_level_and_the_token_limit_are_sent_and_thought_tokens_are_counted(
    pro_user: Person, worker: Poller, google: StandIn
) -> None:
    room = pro_user.open_room(model="best", thinking="minimal")
    message = pro_user.ask(room, "1234")
    worker.drain()
    [request] = google.requests()
    assert request["model"] == "gemini-3.8-flash"
    assert request["generationConfig"] == {
        "maxOutputTokens": 32_768,
        "thinkingConfig": {"thinkingLevel": "low"},  # Gemini 3.8 has no level minimal
    }
    used = pro_user.fetch_message(room, message)["reply"]["usage"]
    assert used["outputTokens"] == gemini.THOUGHTS["low"] + gemini.tokens("You said: 1234 (turn 1)")


def test_the_default_model_changes_with_the_catalogue(
    basic_user: Person, worker: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = basic_user.open_room()
    patch_catalogue(monkeypatch, aliases={"fast": "gemini-3.6-flash"})
    message = basic_user.ask(room)
    worker.drain()
    assert basic_user.fetch_message(room, message)["reply"]["model"] == "gemini-3.6-flash"


# ── Retired models ──────────────────────────────────────────────────────────────────────────────


def test_100_prompts_to_retired_models_are_answered_by_the_replacements_in_one_attempt(
    pro_user: Person, worker: Poller, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "0")
    google.fault(**RETIRED)
    replacements = {
        "gemini-2.5-flash": "gemini-3.6-flash",
        "gemini-2.5-flash-lite": "gemini-3.5-flash-lite",
        "gemini-2.5-pro": "gemini-3.8-flash",
    }
    names = [list(replacements)[number % 3] for number in range(100)]
    rooms = [pro_user.open_room(model=name) for name in names]
    sent = [pro_user.ask(room) for room in rooms]
    worker.drain()
    for name, room, end in zip(names, rooms, fetch_all(pro_user, rooms, sent), strict=True):
        assert end["status"] == "answered"
        assert end["reply"]["model"] == replacements[name]
        assert end["reply"]["requestedModel"] == name
        assert int(messages_in(room)[0].attempts) == 1
    assert pro_user.count_prompts() == 100


def test_prompts_to_retired_models_without_a_replacement_are_refunded_and_counted_as_refusals(
    pro_user: Person,
    worker: Poller,
    google: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BURST_PROMPTS", "0")
    changes = {
        name: {"replacedBy": None, "plans": ["basic", "pro"]}
        for name in ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro")
    }
    patch_catalogue(monkeypatch, models=changes)
    google.fault(**RETIRED)
    rooms = [pro_user.open_room(model=list(changes)[number % 3]) for number in range(100)]
    sent = [pro_user.ask(room) for room in rooms]
    capsys.readouterr()
    worker.drain()
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "{" in line]
    for end in fetch_all(pro_user, rooms, sent):
        assert (end["status"], end["error"]["code"]) == ("failed", "model-retired")
        assert "hange it and send it" not in end["error"]["message"]
    assert pro_user.count_prompts() == 0
    assert len(google.requests()) == 100
    assert sum(line["GeminiRefusals"][0] for line in logged if "GeminiRefusals" in line) == 100
    reasons = {line["reason"] for line in logged if line.get("message") == "gemini failed"}
    assert all("is no longer available to new users" in reason for reason in reasons)


def test_the_replacement_of_a_model_answers_from_the_day_of_retirement_on(
    pro_user: Person, worker: Poller, google: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date().isoformat()
    patch_catalogue(monkeypatch, models={"gemini-2.5-flash": {"retires": today}})
    pro_user.ask(pro_user.open_room(model="gemini-2.5-flash"))
    worker.drain()
    assert [request["model"] for request in google.requests()] == ["gemini-3.6-flash"]


def test_a_room_is_answered_by_the_default_if_its_model_is_no_longer_in_the_catalogue(
    pro_user: Person, worker: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = pro_user.open_room(model="gemini-3.7-flash")
    stored_before = pro_user.ask(room, "sent before")
    patch_catalogue(monkeypatch, models={"gemini-3.7-flash": None})
    stored_after = pro_user.ask(room, "sent after")
    worker.drain()
    for message in (stored_before, stored_after):
        reply = pro_user.fetch_message(room, message)["reply"]
        assert (reply["model"], reply["requestedModel"]) == (
            "gemini-3.5-flash-lite",
            "gemini-3.7-flash",
        )


# ── The daily check ─────────────────────────────────────────────────────────────────────────────


def test_the_daily_check_of_models_reports_no_problem_in_the_shipped_catalogue(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert invoke("ModelsCheck", {}) == {"concerns": []}
    assert '"ModelConcerns":[0]' in capsys.readouterr().out


def test_the_daily_check_of_models_reports_and_counts_models_that_will_stop_working(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    today = datetime.now(UTC).date().isoformat()
    patch_catalogue(
        monkeypatch,
        models={
            "gemini-3.6-flash": {"retires": today},
            "gemini-9": {"name": "9", "input": 1, "output": 1, "plans": ["pro"]},
        },
    )
    concerns = invoke("ModelsCheck", {})["concerns"]
    assert len(concerns) == 2
    assert "Rooms may choose gemini-3.6-flash, which retires on" in concerns[0]
    assert "Rooms may choose gemini-9, which Google does not serve" in concerns[1]
    assert '"ModelConcerns":[2]' in capsys.readouterr().out


def test_the_daily_check_of_models_reports_that_googles_list_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GEMINI_KEY_PARAMETER", config.setting("UPSTASH_TOKEN_PARAMETER"))
    assert len(invoke("ModelsCheck", {})["concerns"]) == 1


# ── Tokens ──────────────────────────────────────────────────────────────────────────────────────


def test_the_tokens_of_attempts_without_a_reply_are_counted_when_the_prompt_ends(
    pro_user: Person, worker: Poller, google: StandIn
) -> None:
    room = pro_user.open_room()
    used = {"promptTokenCount": 100, "totalTokenCount": 400}
    empty = {"candidates": [{"finishReason": "OTHER"}], "usageMetadata": used}
    google.fault("answer", events=[empty], times=2)
    message = pro_user.ask(room, "1234")
    worker.poll()
    worker.redeliver()
    worker.poll()
    assert get_tokens_today(pro_user) == (0, 0)
    worker.redeliver()
    worker.drain()
    reply = pro_user.fetch_message(room, message)["reply"]
    own = gemini.tokens("You said: 1234 (turn 1)")
    assert reply["usage"] == {"inputTokens": 201, "outputTokens": 600 + own}
    assert get_tokens_today(pro_user) == (201, 600 + own)


def test_the_tokens_of_a_failed_prompt_are_counted(
    pro_user: Person, worker: Poller, google: StandIn
) -> None:
    room = pro_user.open_room()
    used = {"promptTokenCount": 1_706, "totalTokenCount": 4_705, "thoughtsTokenCount": 2_999}
    only_thoughts = {"candidates": [{"finishReason": "MAX_TOKENS"}], "usageMetadata": used}
    google.fault("answer", events=[only_thoughts])
    message = pro_user.ask(room)
    worker.drain()
    end = pro_user.fetch_message(room, message)
    assert (end["status"], end["error"]["code"]) == ("failed", "reply-too-long")
    assert len(google.requests()) == 1
    assert get_tokens_today(pro_user) == (1_706, 2_999)


def get_tokens_today(user: Person) -> tuple[int, int]:
    """Return the input and output tokens that are counted for the user today."""
    today = datetime.now(UTC).date().isoformat()
    try:
        item = usage.Usage.get(user.id, today, consistent_read=True)
    except usage.Usage.DoesNotExist:
        return 0, 0
    return int(item.input_tokens), int(item.output_tokens)
