"""GET /docs/{file}: the assets of the documentation page."""

from tests.support.lambdas import Api
from tests.support.person import problem


def test_an_asset_of_the_docs_page_is_served_and_an_unknown_name_is_a_404(api: Api) -> None:
    for name in ("swagger-ui.css", "live_reader.js", "live_reader.py"):
        assert api.get(f"/docs/{name}").status == 200
    collection = api.get("/docs/postman.json", headers={"host": "api.example"}).json
    assert {"key": "baseUrl", "value": "https://api.example"} in collection["variable"]
    for name in ("none.css", "app.py", "%2e%2e"):
        problem(api.get(f"/docs/{name}"), 404, "not-found")
