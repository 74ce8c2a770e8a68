"""The OpenAPI document agrees with the code, is complete, and is valid OpenAPI."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from geminichat import api, errors
from geminichat.api import parse_json
from geminichat.domain import messages
from geminichat.domain.accounts import Credentials, GivenCode, NewAccount, PasswordChange
from geminichat.domain.messages import Failure, NewPrompt
from geminichat.domain.rooms import RoomChange
from geminichat.errors import AppError, InvalidRequest, TokenReused, Unauthorized
from infra.openapi import words
from infra.openapi.__main__ import documents
from infra.openapi.endpoints import endpoints
from infra.paths import ROOT
from tests.support import declared_errors, document
from tests.support.document import DOCUMENT, codes_of, resolve, validator
from tests.support.template import FUNCTIONS, folder_of, routes_of

OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, verbs in DOCUMENT["paths"].items()
    for method, operation in verbs.items()
}
every_operation = pytest.mark.parametrize("route", OPERATIONS)


def test_the_document_describes_the_code_of_every_failure() -> None:
    codes = {value.code for value in vars(messages).values() if isinstance(value, Failure)}
    assert {code for code in codes if f"`{code}`" not in words.DESCRIPTION} == set()


def test_the_generated_documents_are_up_to_date() -> None:
    stale = [path.name for path, text in documents().items() if path.read_text() != text]
    assert not stale, "run `make openapi`"


def test_every_route_of_the_template_is_documented_and_no_other_route() -> None:
    assert set(OPERATIONS) == {route for function in FUNCTIONS for route in routes_of(function)}


def test_every_endpoint_requires_a_token_unless_its_handler_is_public() -> None:
    for endpoint in endpoints():
        security = OPERATIONS[endpoint.route].get("security", DOCUMENT["security"])
        open_to_all = security == [] or {} in security
        assert open_to_all == endpoint.is_public, endpoint.route
        assert open_to_all or "unauthorized" in codes_of(endpoint.method, endpoint.path)
    assert DOCUMENT["security"] == [{"bearer": []}]


def test_every_error_class_is_in_the_tree_of_errors_and_answered_by_an_endpoint() -> None:
    def below(kind: type[AppError]) -> Iterator[type[AppError]]:
        yield kind
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from below(child)

    kinds = list(below(AppError))
    tree = re.findall(r"(\w+) +(\d{3}) +(one class|[a-z-]+)", errors.__doc__ or "")
    assert {name for name, _, _ in tree} == {kind.__name__ for kind in kinds}
    leaves = {(name, int(status), code) for name, status, code in tree if code != "one class"}
    assert leaves <= {(kind.__name__, kind.status, kind.code) for kind in kinds}
    used = {error for endpoint in endpoints() for error in endpoint.errors}
    assert {error.__name__ for error in used} == {name for name, _, _ in leaves}


def test_operation_ids_are_unique() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)


# The contract with clients.
NAMED: dict[str, dict[int, set[str]]] = {
    "POST /auth/signup": {201: set(), 400: {"weak-password"}, 409: {"identity-taken"}},
    "POST /auth/login": {200: set(), 401: {"invalid-credentials"}, 429: {"too-many-requests"}},
    "POST /auth/send-otp": {200: set(), 429: {"too-many-requests"}},
    "POST /auth/verify-otp": {200: set(), 400: {"invalid-code"}},
    "POST /auth/forgot-password": {200: set(), 429: {"too-many-requests"}},
    "POST /auth/reset-password": {200: set(), 400: {"invalid-code", "weak-password"}},
    "POST /auth/change-password": {
        200: set(),
        401: {"invalid-credentials", "unauthorized"},
        400: {"weak-password"},
    },
    "POST /auth/refresh": {200: set(), 401: {"unauthorized"}},
    "POST /auth/logout": {200: set(), 401: {"unauthorized"}},
    "GET /auth/me": {200: set(), 401: {"unauthorized"}},
    "GET /user/me": {200: set(), 401: {"unauthorized"}},
    "POST /chatroom": {201: set(), 400: {"bad-request"}},
    "GET /chatroom": {200: set()},
    "GET /chatroom/{id}": {200: set(), 404: {"not-found"}},
    "PATCH /chatroom/{id}": {200: set(), 404: {"not-found"}},
    "DELETE /chatroom/{id}": {204: set(), 404: {"not-found"}},
    "POST /chatroom/{id}/message": {
        202: set(),
        404: {"not-found"},
        429: {"quota-exceeded"},
        409: {"key-in-use"},
        422: {"key-reused"},
    },
    "GET /chatroom/{id}/message": {200: set(), 304: set(), 404: {"not-found"}},
    "GET /chatroom/{id}/message/{messageId}": {200: set(), 404: {"not-found"}},
    "POST /chatroom/{id}/message/{messageId}/retry": {202: set(), 409: {"not-failed"}},
    "POST /chatroom/{id}/message/{messageId}/regenerate": {
        202: set(),
        404: {"not-found"},
        409: {"changed-meanwhile"},
        429: {"quota-exceeded"},
    },
    "PATCH /chatroom/{id}/message/{messageId}": {202: set(), 409: {"changed-meanwhile"}},
    "POST /chatroom/{id}/undo": {200: set(), 409: {"nothing-to-undo"}},
    "POST /chatroom/{id}/fork": {201: set(), 404: {"not-found"}, 409: {"too-many-rooms"}},
    "POST /subscribe/pro": {
        200: set(),
        403: {"identity-not-proven"},
        409: {"already-subscribed", "payment-in-progress", "payments-off"},
        429: {"too-many-requests"},
        502: {"payment-provider"},
    },
    "GET /subscription/status": {200: set()},
    "POST /subscription/portal": {200: set(), 409: {"no-customer"}},
    "POST /subscription/cancel": {200: set(), 409: {"no-subscription"}},
    "POST /subscription/resume": {200: set(), 409: {"no-subscription"}},
    "GET /subscription/success": {200: set()},
    "GET /subscription/cancel": {200: set()},
    "POST /webhook/stripe": {200: set(), 400: {"invalid-signature"}},
    "GET /health": {200: set(), 503: set()},
    "GET /openapi.json": {200: set()},
    "GET /": {200: set(), 304: set(), 404: {"not-found"}},
    "GET /docs": {200: set()},
}


@pytest.mark.parametrize("route", NAMED)
def test_every_status_and_error_of_the_contract_is_documented(route: str) -> None:
    answers = OPERATIONS[route]["responses"]
    for status, codes in NAMED[route].items():
        assert str(status) in answers
        assert codes <= codes_in(answers[str(status)])


def codes_in(answer: Any) -> set[str]:
    """Return the codes of the errors that an answer documents."""
    problem = resolve(answer).get("content", {}).get("application/problem+json")
    types = problem["schema"]["allOf"][1]["properties"]["type"]["enum"] if problem else []
    return {kind.rpartition(":")[2] for kind in types}


@every_operation
def test_every_endpoint_with_a_body_documents_413_and_415(route: str) -> None:
    takes_struct = "$ref" in json.dumps(OPERATIONS[route].get("requestBody", {}))
    codes = codes_of(*route.split(" "))
    assert takes_struct == ({"body-too-large", "unsupported-media-type"} <= codes)
    assert "internal-error" in codes


def test_the_health_check_documents_no_problem_for_its_own_503() -> None:
    # GET /health reports the errors of its dependencies in the usual envelope.
    assert codes_of("GET", "/health") == {"internal-error"}


def test_the_endpoint_for_prompts_documents_exactly_the_listed_errors() -> None:
    assert codes_of("POST", "/chatroom/{id}/message") == {
        "account-suspended",
        "bad-request",
        "body-too-large",
        "concurrent-requests",
        "identity-not-proven",
        "internal-error",
        "key-in-use",
        "key-reused",
        "not-found",
        "quota-exceeded",
        "service-limit",
        "spending-limit",
        "token-limit",
        "too-many-attempts",
        "too-many-in-flight",
        "too-many-requests",
        "unauthorized",
        "unavailable",
        "unsupported-media-type",
    }


def test_the_headers_and_fields_of_a_quota_error_are_documented() -> None:
    answer = resolve(OPERATIONS["POST /chatroom/{id}/message"]["responses"]["429"])
    assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(answer["headers"])
    extra = answer["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]
    assert extra["resetsAt"]["format"] == "date-time"


def test_a_failed_login_documents_the_headers_of_its_limit() -> None:
    answer = resolve(OPERATIONS["POST /auth/login"]["responses"]["401"])
    assert {"RateLimit", "RateLimit-Policy", "WWW-Authenticate"} <= set(answer["headers"])


def test_the_polling_endpoint_documents_all_its_parameters() -> None:
    operation = OPERATIONS["GET /chatroom/{id}/message"]
    names = {(one["in"], one["name"]) for one in operation["parameters"]}
    assert names == {
        ("path", "id"),
        ("query", "after"),
        ("query", "cursor"),
        ("query", "limit"),
        ("header", "If-None-Match"),
    }
    assert "ETag" in operation["responses"]["304"]["headers"]


# ── The whole document ────────────────────────────────────────────────────────────────────────────


def parts(value: Any, place: str = "#") -> Iterator[tuple[str, Any]]:
    """Yield every object of the document with its place."""
    if isinstance(value, dict):
        yield place, value
        for name, item in value.items():
            yield from parts(item, f"{place}/{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from parts(item, f"{place}/{number}")


def test_every_reference_in_the_document_resolves() -> None:
    references = {part["$ref"] for _, part in parts(DOCUMENT) if isinstance(part.get("$ref"), str)}
    assert references
    for reference in references:
        assert resolve({"$ref": reference})


def test_every_component_of_the_document_is_used() -> None:
    used = {part["$ref"] for _, part in parts(DOCUMENT) if isinstance(part.get("$ref"), str)}
    for kind in ("schemas", "responses", "headers"):
        for name in DOCUMENT["components"][kind]:
            assert f"#/components/{kind}/{name}" in used, name


def test_every_schema_of_the_document_is_valid() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name


def test_every_example_is_valid_under_its_schema() -> None:
    count = 0
    for place, part in parts(DOCUMENT):
        if "schema" in part and "examples" in part:
            check = validator(part["schema"])
            for name, example in part["examples"].items():
                count += 1
                error = next(iter(check.iter_errors(example["value"])), None)
                assert error is None, f"{place} {name}: {error}"
    assert count > 100


def test_generated_clients_can_tell_errors_apart_by_their_status() -> None:
    # openapi-python-client drops an error body if some schemas have an integer as the status and
    # others a const.
    for name, response in DOCUMENT["components"]["responses"].items():
        [content] = response["content"].values()
        status = content["schema"]["allOf"][1]["properties"]["status"]
        assert status["type"] == "integer", name
        assert [type(value) for value in status["enum"]] == [int], name


def test_no_schema_of_a_body_has_a_default() -> None:
    # openapi-typescript takes a field with a default for a required one, other generators do not.
    for place, part in parts(DOCUMENT["components"]["schemas"]):
        assert "default" not in part or place.endswith("/properties"), place


def test_a_field_that_an_answer_always_contains_is_required() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert "tokenType" in schemas["Tokens"]["required"]
    assert {"size", "url", "urlExpiresAt"} <= {*schemas["Export"]["required"]}
    assert "otp" not in schemas["CodeSent"]["required"], "some stages show no codes"


# ── Request bodies ──────────────────────────────────────────────────────────────────────────────

PASSWORD = "correct horse battery"
BODIES: list[tuple[type, dict[str, Any], bool]] = [
    (NewAccount, {"email": "Ann.O'Hara+gc@Example.COM", "password": PASSWORD}, True),
    (NewAccount, {"email": "ann@example.com"}, False),
    (NewAccount, {"email": "ann@example.com", "password": "1234567"}, False),
    (NewAccount, {"email": "ann@example.com", "password": PASSWORD + "\0"}, False),
    (NewAccount, {"email": "a" * 65 + "@example.com", "password": PASSWORD}, False),
    (NewAccount, {"email": "ann@127.0.0.1", "password": PASSWORD}, False),
    (NewAccount, {"mobile": "+1 415-555 0100"}, True),
    (NewAccount, {"mobile": "+14155550100", "email": None, "password": None}, True),
    (NewAccount, {"mobile": "+14155550100", "email": "ann@example.com"}, False),
    (NewAccount, {"mobile": "14155550100"}, False),
    (NewAccount, {"mobile": "+1" + "-" * 50 + "4155550100"}, False),
    (NewAccount, {}, False),
    (Credentials, {"email": "ann@example.com", "password": "short"}, True),
    (Credentials, {"email": "ann@example.com"}, False),
    (GivenCode, {"mobile": "+14155550100", "otp": "12345"}, False),
    (PasswordChange, {"currentOtp": "123 456", "newPassword": PASSWORD}, True),
    (PasswordChange, {"newPassword": "1234567"}, False),
    (PasswordChange, {"currentPassword": "1234567", "newPassword": PASSWORD}, True),
    (NewPrompt, {"content": " a "}, True),
    (NewPrompt, {"content": " \n\t "}, False),
    (NewPrompt, {"content": "a" * 16_001}, False),
    (RoomChange, {}, False),
    (RoomChange, {"title": None}, True),
]


@pytest.mark.parametrize(("kind", "body", "taken"), BODIES)
def test_the_document_and_the_code_accept_the_same_bodies(
    kind: type, body: dict[str, Any], taken: bool
) -> None:
    documented = validator(DOCUMENT["components"]["schemas"][kind.__name__]).is_valid(body)
    try:
        parse_json(json.dumps(body).encode(), kind)
    except InvalidRequest:
        parsed = False
    else:
        parsed = True
    assert (documented, parsed) == (taken, taken)


@every_operation
def test_the_examples_of_an_invalid_body_contain_json_pointers_to_its_fields(route: str) -> None:
    takes_struct = "$ref" in json.dumps(OPERATIONS[route].get("requestBody", {}))
    if takes_struct:
        refusal = resolve(OPERATIONS[route]["responses"]["400"])
        shown = refusal["content"]["application/problem+json"]["examples"]
        unknown = shown["unknownField"]["value"]
        assert unknown["errors"] == [{"pointer": "/colour", "detail": "Unknown field"}]
        for name, example in shown.items():
            assert example["value"]["detail"] == example["value"]["message"], name
            assert all(
                e["detail"] in example["value"]["detail"]
                for e in example["value"].get("errors", [])
            )


@every_operation
def test_the_message_of_an_example_is_a_sentence_from_the_handler(route: str) -> None:
    function = next(name for name in FUNCTIONS if route in routes_of(name))
    code = (ROOT / "functions" / folder_of(function) / "app.py").read_text()
    for status in ("200", "201", "202"):
        content = OPERATIONS[route]["responses"].get(status, {}).get("content", {})
        for example in content.get("application/json", {}).get("examples", {}).values():
            message = example["value"]["message"]
            assert f'"{message}"' in code
            assert not message.startswith("Answer ")


def test_the_example_of_a_degraded_health_check_is_shown_only_with_503() -> None:
    responses = OPERATIONS["GET /health"]["responses"]
    shown = {
        status: set(responses[status]["content"]["application/json"]["examples"])
        for status in ("200", "503")
    }
    assert shown == {"200": {"plain", "deep"}, "503": {"degraded"}}


def test_an_asset_route_documents_each_of_its_content_types() -> None:
    content = OPERATIONS["GET /docs/{file}"]["responses"]["200"]["content"]
    expected = {"application/json", "text/css", "text/javascript", "text/x-python"}
    assert set(content) == expected


# ── The check of every answer in the integration tests ──────────────────────────────────────────

SEEN = {"x-request-id": "r", "content-type": "application/json"}
PROBLEM = SEEN | {"content-type": "application/problem+json"}


def body_of_problem(error: AppError) -> str:
    """Return the body of an error's answer."""
    body: str = api.problem_answer(error, "r")["body"]
    return body


ROOM = DOCUMENT["paths"]["/chatroom"]["post"]["responses"]["201"]["content"]["application/json"]


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (418, SEEN, "{}"),
        (201, SEEN, "{}"),
        (201, SEEN | {"content-type": "text/plain"}, "{}"),
        (201, SEEN | {"x-undocumented": "1"}, json.dumps(ROOM["examples"]["room"]["value"])),
        (401, SEEN | {"www-authenticate": "Basic"}, "{}"),
        (401, PROBLEM, body_of_problem(TokenReused())),  # declared by POST /auth/refresh only
        (401, PROBLEM, body_of_problem(Unauthorized(extensions={"resetsAt": "now"}))),
    ],
)
def test_an_undocumented_answer_fails_the_test_that_sees_it(
    status: int, headers: dict[str, str], body: str
) -> None:
    with pytest.raises(AssertionError):
        document.check("POST", "/chatroom", status, headers, body)
    document.check("POST", "/chatroom", 201, SEEN, json.dumps(ROOM["examples"]["room"]["value"]))
    document.check("POST", "/chatroom", 401, PROBLEM, body_of_problem(Unauthorized()))


def test_a_declared_error_that_no_test_provokes_is_reported() -> None:
    declared = {
        (endpoint.route, error.code) for endpoint in endpoints() for error in endpoint.declared
    }
    assert declared_errors.list_unprovoked(declared) == []
    left_out = ("POST /chatroom/{id}/message", "key-reused")
    assert declared_errors.list_unprovoked(declared - {left_out}) == [
        "POST /chatroom/{id}/message declares KeyReused, and no test provokes key-reused"
    ]
