"""Web pages, documents and health: routes that require no access token."""

import pytest

from tests.support.lambdas import Api
from tests.support.person import check_problem


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/console/start.js",
        "/openapi.json",
        "/docs",
        "/docs/swagger-ui.css",
        "/subscription/success",
        "/subscription/cancel",
    ],
)
def test_a_page_is_served_without_an_access_token(api: Api, path: str) -> None:
    reply = api.get(path)
    assert reply.status == 200
    assert reply.text


@pytest.mark.parametrize("path", ["/", "/console/start.js"])
def test_the_console_is_a_404_when_the_operator_has_switched_it_off(
    api: Api, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSOLE", "false")
    check_problem(api.get(path), 404, "not-found")
    assert "Back to the chats" not in api.get("/subscription/success").text


def test_an_unknown_asset_of_the_console_is_a_404(api: Api) -> None:
    for name in ("none.js", "app.py", "%2e%2e", "VENDORED.md"):
        check_problem(api.get(f"/console/{name}"), 404, "not-found")


def test_browsers_cache_the_consoles_libraries_for_a_year_and_revalidate_other_files(
    api: Api,
) -> None:
    library = api.get("/console/htm-3.1.1.mjs")
    assert library.headers["cache-control"] == "public, max-age=31536000, immutable"
    script = api.get("/console/start.js")
    assert script.headers["cache-control"] == "no-cache"
    again = api.get("/console/start.js", headers={"if-none-match": script.headers["etag"]})
    assert (again.status, again.text) == (304, "")


def test_the_pages_after_a_checkout_have_a_link_to_the_console(api: Api) -> None:
    assert 'href="/#/account/paid"' in api.get("/subscription/success").text
    assert 'href="/#/account"' in api.get("/subscription/cancel").text


def test_only_the_known_assets_of_the_docs_page_are_served(api: Api) -> None:
    for name in ("swagger-ui.css", "live_reader.js", "live_reader.py"):
        assert api.get(f"/docs/{name}").status == 200
    collection = api.get("/docs/postman.json", headers={"host": "api.example"}).json
    assert {"key": "baseUrl", "value": "https://api.example"} in collection["variable"]
    for name in ("none.css", "app.py", "%2e%2e"):
        check_problem(api.get(f"/docs/{name}"), 404, "not-found")


def test_the_health_check_answers_with_a_request_id(api: Api) -> None:
    reply = api.get("/health")
    assert reply.status == 200
    assert reply.data["status"] == "ok"
    assert reply.headers["x-request-id"]


def test_the_deep_health_check_reports_every_dependency_as_ok(api: Api) -> None:
    reply = api.get("/health?deep=1")
    assert (reply.status, set(reply.data["dependencies"].values())) == (200, {"ok"})
