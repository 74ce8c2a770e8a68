"""`make models` and `make up`: the catalogue is compared with Google's list of models."""

from datetime import UTC, datetime

import pytest

from geminichat.clients import gemini_sdk
from infra.command import CommandError
from infra.local import up
from infra.local.standins import gemini
from infra.stages import check_models, deploy
from infra.stages import stage as stages
from infra.stages.stage import Stage
from tests.support.standins import run_app

KEY = "a-key"
WITHOUT_37 = [name for name in gemini.MODELS if name != "gemini-3.7-flash"]


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)


def test_only_models_that_answer_prompts_are_read_from_googles_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with run_app(lambda: gemini.create_app(KEY)) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        assert gemini_sdk.list_served(KEY) == set(gemini.MODELS) - {"gemini-embedding-2"}


@pytest.mark.usefixtures("google")
def test_a_catalogue_of_served_models_passes_the_model_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_app(lambda: gemini.create_app(KEY)) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        assert check_models.main([]) == 0
    shown = capsys.readouterr().out
    assert "gemini-3.5-flash-lite    fast, basic, pro, served\n" in shown
    assert "retires 1 December 2026, then gemini-3.6-flash\n" in shown


@pytest.mark.usefixtures("google")
def test_the_model_check_fails_and_names_a_model_that_is_not_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_app(lambda: gemini.create_app(KEY, models=WITHOUT_37)) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        assert check_models.main([]) == 1
    printed = capsys.readouterr()
    assert "gemini-3.7-flash         pro, not served to this key\n" in printed.out
    assert (
        printed.err
        == "Rooms may choose gemini-3.7-flash, which Google does not serve to this API key.\n"
    )


@pytest.mark.usefixtures("google")
def test_the_model_check_fails_if_googles_list_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_app(lambda: gemini.create_app("another-key")) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        assert check_models.main([]) == 1
    assert "API key not valid" in capsys.readouterr().err


def test_without_a_gemini_key_only_retirement_dates_are_checked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check_models.main([]) == 0
    assert "Google's list was not read" in capsys.readouterr().out
    soon = datetime.now(UTC).date().isoformat()
    patch = f'{{"models": {{"gemini-3.6-flash": {{"retires": "{soon}"}}}}}}'
    stage = Stage("dev", "geminichat-dev", {"Stage": "dev", "ModelsPatch": f"'{patch}'"})
    monkeypatch.setattr(stages, "read", lambda _: stage)
    assert check_models.main(["dev"]) == 1
    assert f"Rooms may choose gemini-3.6-flash, which retires on {soon}." in capsys.readouterr().err


@pytest.mark.parametrize("patch", ["{", '{"aliases": {"fast": "gpt-5"}}'])
def test_a_patch_that_makes_the_catalogue_invalid_stops_a_deployment(patch: str) -> None:
    stage = Stage("dev", "geminichat-dev", {"Stage": "dev", "ModelsPatch": f"'{patch}'"})
    with pytest.raises(
        CommandError, match=r"ModelsPatch in samconfig\.toml makes the catalogue invalid"
    ):
        deploy.check(stage)


@pytest.mark.usefixtures("google")
def test_make_up_shows_the_models_and_warns_of_models_that_a_real_key_may_not_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_app(lambda: gemini.create_app(KEY, models=WITHOUT_37)) as url:
        monkeypatch.setenv("GEMINI_ENDPOINT", url)
        up._show_models()
        monkeypatch.setenv("GEMINI_API_KEY", "another-key")
        up._show_models()
    shown = capsys.readouterr().out
    assert "gemini-3.8-flash         best, pro, served\n" in shown
    assert "Warning: Rooms may choose gemini-3.7-flash, which Google does not serve" in shown
    assert "Warning: Google's list of models could not be read" in shown
