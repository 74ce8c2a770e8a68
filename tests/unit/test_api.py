"""The HTTP edge: requests that are malformed or hostile, and the form of answers."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from geminichat.api import (
    MAX_BODY,
    SECURITY_HEADERS,
    Request,
    Response,
    add_etag,
    created,
    endpoint,
    no_content,
    ok,
)
from geminichat.domain.messages import NewPrompt
from geminichat.domain.rooms import NewRoom
from geminichat.errors import QuotaExceeded


class Echo(msgspec.Struct):
    content: str


@endpoint(public=True)
def echo(request: Request) -> Response[Echo]:
    return created(Echo(request.body(NewPrompt).content), "Echoed.")


def event(body: str | bytes | None = None, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "routeKey": "POST /echo",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "requestId": "req-1",
            "http": {"method": "POST"},
            "timeEpoch": 1_795_426_245_678,
        },
    }
    if isinstance(body, bytes):
        made |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    elif body is not None:
        made |= {"body": body}
    return made | changes


def answer(made: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    reply = echo(made, None)
    return reply["statusCode"], json.loads(reply["body"])


def test_a_success_has_the_envelope_and_the_request_id() -> None:
    reply = echo(event('{"content": " hi "}'), None)
    assert reply["statusCode"] == 201
    assert reply["headers"]["x-request-id"] == "req-1"
    assert json.loads(reply["body"]) == {
        "success": True,
        "message": "Echoed.",
        "data": {"content": " hi"},
    }


def test_an_error_is_problem_json_with_the_fields_success_and_message() -> None:
    reply = echo(event('{"content": 5}'), None)
    assert reply["headers"]["content-type"] == "application/problem+json"
    problem = json.loads(reply["body"])
    assert problem["type"].endswith("bad-request")
    assert problem["status"] == reply["statusCode"] == 400
    assert problem["instance"] == "req-1"
    assert problem["success"] is False
    assert problem["message"] == problem["detail"]
    assert problem["errors"] == [{"pointer": "/content", "detail": "Expected string, got integer"}]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ("", None),
        ("{", ""),
        ("null", ""),
        ("[]", ""),
        ('"content"', ""),
        ("[" * 10_000, ""),
        ('{"content": "a", "x": ' + "[" * 10_000 + "]" * 10_000 + "}", "/x"),
        ('{"content": NaN}', ""),
        ('{"content": "\\ud800"}', ""),
        ('{"content": {"$gt": ""}}', "/content"),
        ('{"content": ["a"]}', "/content"),
        ('{"content": null}', "/content"),
        ('{"content": "   "}', "/content"),
        ('{"content": "' + "x" * 16_001 + '"}', "/content"),
        ("{}", "/content"),
        ('{"content": "a", "a/b~c": 1}', "/a~1b~0c"),
        (b"\xff\xfe", ""),
        (b'{"content": "\xff"}', ""),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"content": "a"}', ""),
        (b"\xef\xbb\xbf", ""),
    ],
)
def test_a_malformed_body_is_a_400_with_a_pointer(body: str | bytes, pointer: str | None) -> None:
    status, problem = answer(event(body))
    assert status == 400
    assert [error["pointer"] for error in problem.get("errors", [])] == (
        [] if pointer is None else [pointer]
    )


def test_a_body_of_exactly_256_kib_is_read_and_one_byte_more_is_a_413() -> None:
    padding = MAX_BODY - len('{"content": "a"}')
    assert answer(event('{"content": "a"}' + " " * padding))[0] == 201
    assert answer(event('{"content": "a"}' + " " * (padding + 1)))[0] == 413


def test_a_head_request_is_answered_like_get_but_without_a_body() -> None:
    @endpoint(public=True)
    def shown(_: Request) -> Response:
        return Response(200, body="text", headers={"etag": '"1"'})

    got, headed = (shown(event(routeKey=f"{verb} /docs"), None) for verb in ("GET", "HEAD"))
    assert got.pop("body") == "text"
    assert headed == got


def test_broken_base64_is_a_400() -> None:
    assert answer(event() | {"body": "%%%", "isBase64Encoded": True})[0] == 400


@pytest.mark.parametrize("ensure_ascii", [False, True], ids=["plain", "escaped"])
@pytest.mark.parametrize("character", ["a", "é", "я", "🙂", "\x01", '"'])
def test_a_prompt_of_16_000_characters_is_accepted_however_it_is_escaped(
    character: str, ensure_ascii: bool
) -> None:
    content = "a" + character * 15_999
    assert answer(event(json.dumps({"content": content}, ensure_ascii=ensure_ascii)))[0] == 201


def test_a_byte_order_mark_before_the_body_is_ignored() -> None:
    assert answer(event(b'\xef\xbb\xbf{"content": "a"}'))[0] == 201


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("Application/JSON; Charset=UTF-8", 201),
        ("application/vnd.api+json", 201),
        ("application/json,application/json; charset=utf-8", 201),
        ("application/json, text/plain", 415),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("", 415),
    ],
)
def test_a_body_that_is_not_json_in_utf_8_is_a_415(content_type: str, status: int) -> None:
    made = event('{"content": "a"}', headers={"Content-Type": content_type})
    assert answer(made)[0] == status


def test_an_unexpected_exception_is_a_bare_500_with_the_request_id() -> None:
    @endpoint(public=True)
    def buggy(_: Request) -> Response:
        raise RuntimeError("the password is hunter2")

    reply = buggy(event(), None)
    assert reply["statusCode"] == 500
    assert "hunter2" not in json.dumps(reply)
    assert json.loads(reply["body"])["instance"] == "req-1"


@pytest.mark.parametrize("missing", ["requestContext", "headers"])
def test_a_gateway_event_with_missing_fields_is_answered(missing: str) -> None:
    made = event('{"content": "a"}')
    del made[missing]
    assert echo(made, None)["statusCode"] == 201


def test_an_error_carries_its_headers_and_extensions() -> None:
    @endpoint(public=True)
    def refuse(_: Request) -> Response:
        raise QuotaExceeded("No more.", retry_after=0, extensions={"resetsAt": "then"})

    reply = refuse(event(), None)
    assert reply["statusCode"] == 429
    assert reply["headers"]["retry-after"] == "1"
    assert json.loads(reply["body"])["resetsAt"] == "then"


def test_a_204_has_no_body() -> None:
    @endpoint(public=True)
    def send_nothing(_: Request) -> Response:
        return no_content()

    assert send_nothing(event(), None) == {
        "statusCode": 204,
        "headers": SECURITY_HEADERS | {"x-request-id": "req-1"},
    }


@endpoint(public=True)
def send_tagged(request: Request) -> Response[Echo]:
    return add_etag(ok(Echo("a"), "Same."), request)


TAG = send_tagged(event(), None)["headers"]["etag"]


@pytest.mark.parametrize(
    "known", ["{}", "W/{}", '"x", {}', '{}, "x"', '"x",W/{} , "y"', " {} ", "*", " * "]
)
def test_every_form_of_if_none_match_with_the_current_etag_is_answered_with_304(
    known: str,
) -> None:
    again = send_tagged(event(headers={"If-None-Match": known.format(TAG)}), None)
    assert (again["statusCode"], again["headers"]["etag"]) == (304, TAG)
    assert "body" not in again


@pytest.mark.parametrize(
    "known", ["", '""', '"x"', "W/", "x", '"*"', ",", '"x", "y"', "*, *", TAG.strip('"')]
)
def test_an_outdated_or_malformed_etag_is_answered_with_200(known: str) -> None:
    assert send_tagged(event(headers={"If-None-Match": known}), None)["statusCode"] == 200


@pytest.mark.parametrize(
    "limit", ["0", "101", "-1", "1.5", "null", "abc", "१", "1e2", "+5", "1" * 400]
)
def test_a_page_limit_that_is_not_1_to_100_is_a_400(limit: str) -> None:
    @endpoint(public=True)
    def send_page(request: Request) -> Response[int]:
        return ok(request.limit(), "Paged.")

    assert send_page(event(queryStringParameters={"limit": limit}), None)["statusCode"] == 400


def test_an_empty_query_value_counts_as_absent() -> None:
    @endpoint(public=True)
    def send_page(request: Request) -> Response[int]:
        return ok(request.limit() + request.after("r_1"), "Paged.")

    empty = event(queryStringParameters={"limit": "", "after": ""})
    assert json.loads(send_page(empty, None)["body"])["data"] == 20


def test_the_time_of_a_request_comes_from_the_gateway() -> None:
    @endpoint(public=True)
    def tell_time(request: Request) -> Response[datetime]:
        return ok(request.now, "Timed.")

    moment = datetime.fromtimestamp(1_795_426_245.678, UTC)
    assert json.loads(tell_time(event(), None)["body"])["data"] == moment.isoformat().replace(
        "+00:00", "Z"
    )


def test_a_room_may_be_opened_with_an_empty_body_or_an_empty_object() -> None:
    @endpoint(public=True)
    def open_room(request: Request) -> Response[NewRoom]:
        return ok(request.body(NewRoom, optional=True), "Read.")

    for body in (None, "{}", '{"title": "  ", "systemInstruction": null}'):
        data = json.loads(open_room(event(body), None)["body"])["data"]
        assert data == dict.fromkeys(("title", "systemInstruction", "model", "thinking"))
