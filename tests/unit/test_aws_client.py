"""Requests to AWS equal botocore's, and failures raise botocore's exceptions."""

import hashlib
import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from hypothesis import given
from hypothesis import strategies as st

from geminichat.runtime import aws_client
from geminichat.runtime.http_client import Answer, NotConnected, RequestFailed, TimedOut

NO_PAUSE = 358_411
"""A seed that makes the pause before a second try almost zero."""
MOMENTS = st.integers(min_value=0, max_value=4_000_000_000)
TOKENS = st.text("abcXYZ019+/=", max_size=40)
PATHS = st.sampled_from(
    ["/", "/v2/email/outbound-emails", "/live/%40connections/L0SM9cOFvHcCIhw%3D", "/a~b/%25c"]
)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "x-amz-target", "amz-sdk-request", "x-more"]),
    st.text("abc XYZ/;=.-0", min_size=1, max_size=30).map(
        lambda text: " ".join(text.split()) or "x"
    ),
)


@dataclass
class Service:
    """A transport that answers each try with the next of `answers`: an answer or an exception."""

    answers: list[Answer | Exception]
    tries: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)

    def __call__(
        self, call: str, url: str, headers: Mapping[str, str], body: bytes, *more: Any
    ) -> Answer:
        self.tries.append((call, url, headers, body))
        self.idle.append(more[2])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
    aws_client.endpoint.cache_clear()
    return monkeypatch


@pytest.fixture(autouse=True)
def no_endpoint_is_remembered() -> Iterator[None]:
    yield
    aws_client.endpoint.cache_clear()


def serve(
    monkeypatch: pytest.MonkeyPatch, *answers: Answer | Exception, attempts: int = 2
) -> tuple[Service, aws_client.Client]:
    service = Service(list(answers))
    monkeypatch.setattr(aws_client, "transport", service)
    random.seed(NO_PAUSE)
    return service, aws_client.Client("dynamodb", connect=1, read=2, attempts=attempts)


# ── Signing ─────────────────────────────────────────────────────────────────────────────────────


@given(
    path=PATHS,
    headers=HEADERS,
    body=st.binary(max_size=200),
    token=TOKENS,
    moment=MOMENTS,
    service=st.sampled_from(["dynamodb", "sqs", "ssm", "sns", "ses", "execute-api"]),
    method=st.sampled_from(["POST", "DELETE"]),
)
def test_a_request_is_signed_as_botocore_signs_it(
    path: str,
    headers: dict[str, str],
    body: bytes,
    token: str,
    moment: int,
    service: str,
    method: str,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if token:
            patch.setenv("AWS_SESSION_TOKEN", token)
        url = f"https://{service}.us-east-1.amazonaws.com{path}"
        signed = aws_client._signature(service, url, headers, body, moment, method)

    request = AWSRequest(method, url, headers=headers, data=body)
    request.context["timestamp"] = signed["x-amz-date"]
    request.headers["X-Amz-Date"] = signed["x-amz-date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    theirs = SigV4Auth(Credentials("test", "test", token or None), service, "us-east-1")
    canonical = theirs.canonical_request(request)
    signature = theirs.signature(theirs.string_to_sign(request, canonical), request)
    ours = dict(part.split("=", 1) for part in signed["authorization"].split(" ", 1)[1].split(", "))
    assert ours["Signature"] == signature
    assert ours["Credential"] == f"test/{theirs.credential_scope(request)}"
    assert ours["SignedHeaders"] == theirs.signed_headers(theirs.headers_to_sign(request))
    assert signed["x-amz-date"] == time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))


KEYS = st.sampled_from(["/u_a2/e_b3.zip", "/exports/u_a2/e_b3.zip"])
QUERIES = st.sampled_from(
    ["", "?uploads=", "?partNumber=7&uploadId=a%2Fb-_c", "?list-type=2&prefix=u_a2%2F"]
)


@given(
    path=KEYS,
    query=QUERIES,
    headers=HEADERS,
    body=st.binary(max_size=200),
    token=TOKENS,
    moment=MOMENTS,
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
)
def test_a_request_to_s3_is_signed_as_botocore_signs_it(
    path: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    token: str,
    moment: int,
    method: str,
) -> None:
    url = f"https://b.s3.us-east-1.amazonaws.com{path}{query}"
    with pytest.MonkeyPatch.context() as patch:
        if token:
            patch.setenv("AWS_SESSION_TOKEN", token)
        signed = aws_client._signature("s3", url, headers, body, moment, method)

    request = AWSRequest(method, url, headers=headers, data=body)
    request.context["timestamp"] = signed["x-amz-date"]
    request.headers["X-Amz-Date"] = signed["x-amz-date"]
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    if token:
        request.headers["X-Amz-Security-Token"] = token
    theirs = S3SigV4Auth(Credentials("test", "test", token or None), "s3", "us-east-1")
    canonical = theirs.canonical_request(request)
    signature = theirs.signature(theirs.string_to_sign(request, canonical), request)
    assert signed["authorization"].endswith(f"Signature={signature}")


@given(path=KEYS, token=TOKENS, moment=MOMENTS, seconds=st.integers(1, 604_800))
def test_a_url_is_presigned_as_botocore_presigns_it(
    path: str, token: str, moment: int, seconds: int
) -> None:
    url = f"https://b.s3.us-east-1.amazonaws.com{path}"
    request = AWSRequest("GET", url)
    credentials = Credentials("test", "test", token or None)
    with pytest.MonkeyPatch.context() as patch:
        if token:
            patch.setenv("AWS_SESSION_TOKEN", token)
        at = datetime.fromtimestamp(moment, UTC)
        patch.setattr("botocore.auth.get_current_datetime", lambda: at)
        S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=seconds).add_auth(request)
        ours = aws_client.presign("s3", url, seconds, moment)
    assert ours.partition("?")[0] == url
    assert parse_qs(ours.partition("?")[2]) == parse_qs(str(request.url).partition("?")[2])


def test_the_next_request_uses_new_credentials_from_the_runtime(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = aws_client._signature("sqs", "https://x.example/", {}, b"", 0)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    after = aws_client._signature("sqs", "https://x.example/", {}, b"", 0)
    assert before["authorization"] != after["authorization"]
    assert after["x-amz-security-token"] == "session"


def test_the_trace_header_is_sent_unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793")
    signed = aws_client._signature("sqs", "https://x.example/", {}, b"", 0)
    assert signed["x-amzn-trace-id"] == "Root=1-5759e988-bd862e3fe1be46a994272793"
    assert "trace" not in signed["authorization"]


# ── Endpoints ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("service", "settings", "url"),
    [
        ("dynamodb", {}, "https://dynamodb.us-east-1.amazonaws.com"),
        ("ses", {}, "https://email.us-east-1.amazonaws.com"),
        ("sqs", {"AWS_REGION": "cn-north-1"}, "https://sqs.cn-north-1.amazonaws.com.cn"),
        ("sqs", {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566/"}, "http://127.0.0.1:4566"),
        (
            "sqs",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SQS": "http://other:2"},
            "http://other:2",
        ),
        ("sqs", {"AWS_ENDPOINT_URL": ""}, "https://sqs.us-east-1.amazonaws.com"),
    ],
)
def test_a_services_endpoint_comes_from_the_environment(
    service: str, settings: dict[str, str], url: str, environment: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        environment.setenv(name, value)
    assert aws_client.endpoint(service) == url


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────


def test_a_call_to_aws_names_its_operation_and_returns_the_decoded_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service, client = serve(monkeypatch, answer(200, {"Item": {"a": {"S": "é"}}}))
    assert client.call("GetItem", {"Key": {"a": {"S": "1"}}}) == {"Item": {"a": {"S": "é"}}}
    [(call, url, headers, body)] = service.tries
    assert (call, url) == ("dynamodb.GetItem", aws_client.endpoint("dynamodb") + "/")
    assert headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert headers["content-type"] == "application/x-amz-json-1.0"
    assert json.loads(body) == {"Key": {"a": {"S": "1"}}}


def test_an_empty_answer_body_becomes_an_empty_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    _, client = serve(monkeypatch, answer(200))
    assert client.call("DeleteItem", {}) == {}


REFUSALS: dict[str, tuple[Answer, str]] = {
    "a shape": (
        answer(400, {"__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"}),
        "ResourceNotFoundException",
    ),
    "a bare name": (answer(400, {"__type": "ValidationException"}), "ValidationException"),
    "a header": (
        answer(403, {"message": "no"}, x_amzn_errortype="MessageRejected:http://internal/"),
        "MessageRejected",
    ),
    "XML": (
        answer(400, b"<ErrorResponse><Error><Code>InvalidParameter</Code></Error>"),
        "InvalidParameter",
    ),
    "no sense": (answer(404, b"\xff<html>"), "404"),
    "a list": (answer(400, b"[1]"), "400"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_client_error_is_raised_with_its_code_and_not_retried(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, code = REFUSALS[kind]
    service, client = serve(monkeypatch, refused)
    with pytest.raises(ClientError) as caught:
        client.call("PutItem", {})
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == refused.status
    assert caught.value.operation_name == "PutItem"
    assert len(service.tries) == 1


def test_a_cancelled_transaction_carries_its_cancellation_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed"}]
    body = {"__type": "x#TransactionCanceledException", "CancellationReasons": reasons}
    _, client = serve(monkeypatch, answer(400, body))
    with pytest.raises(ClientError) as caught:
        client.call("TransactWriteItems", {})
    found: Any = caught.value.response
    assert found["CancellationReasons"] == reasons


PASSING: dict[str, Answer | Exception] = {
    "500": answer(500, {"__type": "InternalServerError"}),
    "503 of a proxy": answer(503, b"<html>"),
    "throttled": answer(400, {"__type": "x#ThrottlingException"}),
    "broken off": RequestFailed("broke off"),
    "timed out": TimedOut("too slow"),
    "not connected": NotConnected("refused"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_transient_failure_is_retried_up_to_the_number_of_attempts(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = serve(monkeypatch, PASSING[kind], answer(200, {}))
    assert client.call("GetItem", {}) == {}
    tried = [headers["amz-sdk-request"] for _, _, headers, _ in service.tries]
    assert tried == ["attempt=1; max=2", "attempt=2; max=2"]


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (PASSING["500"], ClientError),
        (PASSING["throttled"], ClientError),
        (RequestFailed("broke off"), ConnectionClosedError),
        (TimedOut("too slow"), ReadTimeoutError),
        (NotConnected("refused"), EndpointConnectionError),
    ],
    ids=str,
)
def test_a_lasting_failure_raises_botocores_exception(
    failure: Answer | Exception, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = serve(monkeypatch, failure, failure)
    with pytest.raises(raised):
        client.call("GetItem", {})
    assert len(service.tries) == 2


def test_a_client_with_one_attempt_does_not_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    service, client = serve(monkeypatch, PASSING["500"], attempts=1)
    with pytest.raises(ClientError):
        client.call("Publish", {})
    assert len(service.tries) == 1


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 20), (2, 240)])
def test_a_call_without_retries_reuses_only_a_recent_connection(
    attempts: int, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = serve(monkeypatch, answer(200), attempts=attempts)
    client.call("Publish", {})
    assert service.idle == [seconds]
