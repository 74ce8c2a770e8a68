"""The OpenAPI document, and a check that answers are as documented."""

import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from infra.template import ROOT

DOCUMENT: Mapping[str, Any] = json.loads(
    (ROOT / "functions" / "docs_openapi" / "openapi.json").read_text()
)

ALWAYS = {"connection", "content-encoding", "content-length", "content-type", "date", "vary"}
"""HTTP's own headers, which are not documented."""
PAGES = {
    "access-control-",
    "content-security-policy",
    "cross-origin-opener-policy",
    "permissions-policy",
    "referrer-policy",
    "server",
    "strict-transport-security",
    "x-content-type-options",
    "apigw-requestid",
}
"""Prefixes of headers that are not documented: those for browsers, and the gateway's own."""


def operation_of(method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return a request's route and operation; None if no route matches."""
    for template in sorted(DOCUMENT["paths"], key=lambda template: str(template).count("{")):
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        operation = DOCUMENT["paths"][template].get(method.lower())
        if operation and re.fullmatch(pattern, path):
            return f"{method} {template}", operation
    return None


def codes_of(method: str, path: str) -> set[str]:
    """Return the codes of all documented errors of an endpoint."""
    found: set[str] = set()
    for answer in DOCUMENT["paths"][path][method.lower()]["responses"].values():
        content = resolve(answer).get("content", {}).get("application/problem+json")
        if content:
            types = content["schema"]["allOf"][1]["properties"]["type"]["enum"]
            found |= {kind.rpartition(":")[2] for kind in types}
    return found


def resolve(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the target if the value is a reference within the document, else the value."""
    if "$ref" not in value:
        return value
    found: Any = DOCUMENT
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    assert isinstance(found, Mapping)
    return found


def check(method: str, path: str, status: int, headers: Mapping[str, str], text: str) -> None:
    """Assert that an answer is as documented; the gateway's own answers are ignored."""
    found = operation_of(method, path)
    if found is None or "x-request-id" not in headers:
        return  # the gateway itself answered
    route, operation = found
    assert str(status) in operation["responses"], f"{route} answers {status}, undocumented: {text}"
    answer = resolve(operation["responses"][str(status)])
    documented = {name.lower() for name in answer["headers"]}
    for name in headers:
        known = name in documented | ALWAYS or name.startswith(tuple(PAGES))
        assert known, f"{route} answers {status} with the header {name}, undocumented"
    for name, said in answer["headers"].items():
        if name.lower() in headers:
            where = said["$ref"].removeprefix("#/components/headers/")
            assert _header(where).is_valid(headers[name.lower()]), (
                f"{route}: {name}: {headers[name.lower()]} is not as documented"
            )
    content = answer.get("content", {})
    if not content:
        assert not text, f"{route} answers {status} with a body, undocumented"
        return
    kind = headers["content-type"].partition(";")[0]
    assert kind in content, f"{route} answers {status} as {kind}, documented are {list(content)}"
    if kind.endswith("json"):
        error = next(iter(_body(route, status, kind).iter_errors(json.loads(text))), None)
        assert error is None, f"{route} answers {status}, not as documented: {error}"
    if kind == "application/problem+json":
        parts = [resolve(part)["properties"] for part in content[kind]["schema"]["allOf"]]
        unknown = set(json.loads(text)).difference(*parts)
        assert not unknown, f"{route} answers {status} with the fields {unknown}, undocumented"


@functools.cache
def _header(name: str) -> jsonschema_rs.Draft202012Validator:
    return validator(DOCUMENT["components"]["headers"][name]["schema"])


@functools.cache
def _body(route: str, status: int, kind: str) -> jsonschema_rs.Draft202012Validator:
    method, _, path = route.partition(" ")
    answer = resolve(DOCUMENT["paths"][path][method.lower()]["responses"][str(status)])
    return validator(answer["content"][kind]["schema"])


def validator(schema: Mapping[str, Any]) -> jsonschema_rs.Draft202012Validator:
    """Return a validator for a schema of the document."""
    return jsonschema_rs.Draft202012Validator(
        {**schema, "components": DOCUMENT["components"]}, validate_formats=True
    )
