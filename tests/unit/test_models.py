"""The catalogue of models: names, prices and replacements."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from geminichat import config
from geminichat.domain.catalogue import SHIPPED
from geminichat.domain.models import DEFAULT, Catalogue, Thinking
from geminichat.domain.plans import Plan

TODAY = date(2026, 11, 25)


@pytest.fixture(autouse=True)
def fresh_catalogue() -> Iterator[None]:
    config.catalogue.cache_clear()
    yield
    config.catalogue.cache_clear()


def patch(**changes: Any) -> Catalogue:
    return Catalogue.read(SHIPPED, {"models": changes})


def test_the_shipped_catalogue_is_valid_and_raises_no_concern() -> None:
    catalogue = Catalogue.read(SHIPPED)
    assert catalogue.concerns(catalogue.models.keys(), TODAY) == []


def test_prices_are_micro_dollars_per_million_tokens() -> None:
    lite = Catalogue.read(SHIPPED).models["gemini-3.5-flash-lite"]
    assert (lite.price_in, lite.price_out) == (300_000, 2_500_000)
    assert lite.cost(1_000_000, 1_000_000) == 2_800_000
    assert lite.cost(1, 0) == 1, "a part of a micro-dollar is rounded up"


def test_an_alias_and_an_id_name_the_same_model() -> None:
    catalogue = Catalogue.read(SHIPPED)
    assert catalogue.find(DEFAULT) is catalogue.find("gemini-3.5-flash-lite")
    assert catalogue.find("gpt-5") is None


def test_every_plan_may_choose_the_default_and_the_cheapest_model() -> None:
    catalogue = Catalogue.read(SHIPPED)
    for model in (catalogue.default(), catalogue.cheapest(TODAY)):
        assert all(catalogue.is_open_to(model.id, plan, TODAY) for plan in Plan)
    assert not catalogue.is_open_to("best", Plan.BASIC, TODAY)
    assert catalogue.is_open_to("best", Plan.PRO, TODAY)
    assert not catalogue.is_open_to("gpt-5", Plan.PRO, TODAY)


def test_the_cheapest_model_is_never_a_retired_model() -> None:
    catalogue = Catalogue.read(SHIPPED)
    first = catalogue.cheapest(TODAY)
    retiring = {**catalogue.models, first.id: replace(first, retires=TODAY)}
    after = replace(catalogue, models=retiring)
    assert after.cheapest(TODAY - timedelta(days=1)).id == first.id
    assert after.cheapest(TODAY).id != first.id


def test_a_room_with_a_retired_model_gets_the_replacement_from_the_day_of_retirement_on() -> None:
    catalogue = Catalogue.read(SHIPPED)
    before, after = date(2026, 11, 30), date(2026, 12, 1)
    assert catalogue.choose("gemini-2.5-flash", Plan.BASIC, before).model.id == "gemini-2.5-flash"
    assert catalogue.choose("gemini-2.5-flash", Plan.BASIC, after).model.id == "gemini-3.6-flash"
    assert catalogue.replacement(catalogue.models["gemini-2.5-flash"]) == catalogue.find(
        "gemini-3.6-flash"
    )


def test_the_default_model_replaces_a_model_missing_from_the_plan_or_the_catalogue() -> None:
    catalogue = Catalogue.read(SHIPPED)
    for name in ("best", "gemini-2.5-pro", "gemini-1.0-pro"):
        assert catalogue.choose(name, Plan.BASIC, TODAY).model is catalogue.default()


def test_a_replys_length_is_limited_by_the_plan_and_by_the_model() -> None:
    small = patch(**{"gemini-3.5-flash-lite": {"maxOutputTokens": 9_000}})
    bounds = [small.choose("fast", plan, TODAY).max_output_tokens for plan in Plan]
    assert bounds == [8_192, 9_000]


def test_a_thinking_level_unknown_to_the_model_becomes_the_next_higher_level() -> None:
    catalogue = Catalogue.read(SHIPPED)
    best, old = catalogue.models["gemini-3.8-flash"], catalogue.models["gemini-2.5-pro"]
    assert best.nearest_thinking(Thinking.MINIMAL) is Thinking.LOW
    assert best.nearest_thinking(Thinking.HIGH) is Thinking.HIGH
    assert best.nearest_thinking(None) is None
    assert old.nearest_thinking(Thinking.HIGH) is None


@pytest.mark.parametrize(
    ("patch", "problem"),
    [
        ({"aliases": {"fast": "gpt-5"}}, "the alias fast names gpt-5"),
        ({"aliases": {"fast": None}}, "there is no alias fast"),
        ({"aliases": {"fast": "gemini-3.8-flash"}}, "not open to every plan"),
        ({"plans": {"pro": None}}, "maxOutputTokens"),
        ({"models": {"gemini-3.6-flash": {"replacedBy": "gpt-5"}}}, "replaced by gpt-5"),
        (
            {"models": {"gemini-3.6-flash": {"replacedBy": "gemini-2.5-flash"}}},
            "which is unknown or leads back to it",
        ),
        ({"models": {"gemini-3.6-flash": {"price": 1}}}, "unknown field `price`"),
        ({"models": {"gemini-3.6-flash": {"input": "free"}}}, "Expected `float`"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(
    patch: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        Catalogue.read(SHIPPED, patch)


def test_a_retirement_within_thirty_days_is_a_concern() -> None:
    served = set(SHIPPED["models"])
    for days_left, concerned in ((31, False), (30, True), (-1, True)):
        retires = date.fromordinal(TODAY.toordinal() + days_left).isoformat()
        catalogue = patch(**{"gemini-3.6-flash": {"retires": retires}})
        found = catalogue.concerns(served, TODAY)
        assert bool(found) is concerned
        if concerned:
            assert found == [f"Rooms may choose gemini-3.6-flash, which retires on {retires}."]


def test_a_model_that_google_does_not_serve_is_a_concern() -> None:
    catalogue = Catalogue.read(SHIPPED)
    served = catalogue.models.keys() - {"gemini-3.7-flash", "gemini-2.5-flash"}
    [concern] = catalogue.concerns(served, TODAY)
    assert "gemini-3.7-flash" in concern


def test_a_model_that_rooms_may_not_choose_needs_a_replacement() -> None:
    catalogue = patch(**{"gemini-2.5-pro": {"replacedBy": None}})
    [concern] = catalogue.concerns(catalogue.models.keys(), TODAY)
    assert "has no replacement" in concern


def test_the_operators_patch_changes_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_PATCH", '{"aliases": {"fast": "gemini-3.6-flash"}}')
    assert config.catalogue().default().id == "gemini-3.6-flash"
