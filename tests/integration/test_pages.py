"""The pages and documents that need no table, through their handlers."""

import pytest

from tests.support.lambdas import Api


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/console/console.js",
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
