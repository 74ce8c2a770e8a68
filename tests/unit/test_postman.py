"""The Postman collection has every endpoint, and its journey agrees with the document."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.openapi.document import DocumentError
from infra.openapi.journey import Step
from infra.openapi.postman import VARIABLES, collection
from tests.support.document import DOCUMENT


def requests(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a request itself, or all requests in a folder."""
    if "request" in item:
        yield item
    for inner in item.get("item", []):
        yield from requests(inner)


JOURNEY, *FOLDERS = collection(dict(DOCUMENT))["item"]


def test_the_postman_collection_has_every_endpoint_once_in_the_folder_of_its_tag() -> None:
    shown = {
        (one["request"]["method"], "/" + "/".join(one["request"]["url"]["path"]))
        for folder in FOLDERS
        for one in requests(folder)
    }
    assert shown == {
        (method.upper(), path.replace("{", ":").replace("}", ""))
        for path, verbs in DOCUMENT["paths"].items()
        for method in verbs
    }
    assert [folder["name"] for folder in FOLDERS] == [tag["name"] for tag in DOCUMENT["tags"]]


def test_the_postman_collection_requests_public_endpoints_without_a_token() -> None:
    for folder in FOLDERS:
        for one in requests(folder):
            url, method = one["request"]["url"], one["request"]["method"].lower()
            path = "/" + "/".join(f"{{{p[1:]}}}" if p[0] == ":" else p for p in url["path"])
            public = DOCUMENT["paths"][path][method].get("security") == []
            assert (one["request"].get("auth") == {"type": "noauth"}) == public, path


def test_a_step_of_the_postman_journey_checks_its_status_and_sets_only_known_variables() -> None:
    for step in requests(JOURNEY):
        scripts = {event["listen"]: event["script"]["exec"] for event in step["event"]}
        assert any("to.have.status(" in line for line in scripts["test"]), step["name"]
        for line in scripts["test"] + scripts.get("prerequest", []):
            _, _, named = line.partition("collectionVariables.set(")
            assert not named or named[1:].partition(named[0])[0] in VARIABLES, line


@pytest.mark.parametrize(
    "step",
    [
        Step(says="a status", operation="authMe", status=418),
        Step(says="a code", operation="authMe", status=401, code="invalid-credentials"),
        Step(says="a header", operation="authMe", status=200, shows=("ETag",)),
        Step(says="an operation", operation="authYou", status=200),
    ],
    ids=lambda step: step.says,
)
def test_a_step_of_the_postman_journey_that_contradicts_the_document_fails(
    step: Step,
) -> None:
    with pytest.raises(DocumentError):
        collection(dict(DOCUMENT), [step])
