"""Client for AWS services: signed requests with deadlines, retried by botocore's rules.

A call takes the same arguments and raises the same exceptions as botocore's client, but does not
import that client and its service models; README.md says how much time this saves. A test compares
the signatures (Signature Version 4) with botocore's.
"""

import functools
import hashlib
import hmac
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from geminichat.runtime import deadlines, http_client
from geminichat.runtime.http_client import Answer

TARGETS = {"dynamodb": "DynamoDB_20120810", "sqs": "AmazonSQS", "ssm": "AmazonSSM"}
"""The services that use the JSON protocol, each with the prefix of its operation names."""

HOSTS = {"ses": "email"}
"""The services whose host name is not the service's name, each with its host name."""

TRANSIENT = {500, 502, 503, 504}
"""Statuses that are retried."""

THROTTLED = {
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}
"""Error codes that are retried, as in botocore's standard mode."""

MAX_PAUSE = 20.0
"""The most seconds between two attempts."""


class Client:
    """A client of one service, with deadlines in seconds and a number of attempts per call."""

    def __init__(
        self,
        service: str,
        *,
        connect: float,
        read: float,
        attempts: int,
        url: Callable[[], str] | None = None,
    ) -> None:
        """Keep the settings; nothing is sent before the first call.

        `url` returns the URL to call instead of the service's endpoint.
        """
        self._service = service
        self._url = url or functools.partial(endpoint, service)
        self._connect = connect
        self._read = read
        self._attempts = attempts

    def call(self, operation: str, request: Mapping[str, Any]) -> Any:
        """Call an operation of a JSON service and return its answer, such as `{"Item": …}`.

        Raises ClientError for an error of the service, and botocore's EndpointConnectionError,
        ReadTimeoutError and ConnectionClosedError when no answer arrives.
        """
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": f"{TARGETS[self._service]}.{operation}",
        }
        if self._service == "ssm":
            headers["content-type"] = "application/x-amz-json-1.1"
        body = self.post(operation, "/", headers, msgspec.json.encode(request))
        return msgspec.json.decode(body) if body else {}

    _make_api_call = call
    """The method of botocore's client that PynamoDB calls."""

    def post(self, operation: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Send a signed POST and return the answer's body. Raises as `call` does."""
        return self.send("POST", operation, path, headers, body).body

    def send(
        self, method: str, operation: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Send a signed request and return the answer. Raises as `call` does.

        A query in `path` must be encoded and sorted by name.
        """
        for attempt in range(1, self._attempts + 1):
            attempt_headers = {
                **headers,
                "amz-sdk-request": f"attempt={attempt}; max={self._attempts}",
            }
            failure: Exception
            try:
                answer = self._send(method, operation, path, attempt_headers, body)
            except http_client.RequestFailed as error:
                failure = _connection_error(error, self._url())
            else:
                if answer.status < 300:
                    return answer
                code, failure = _read_error(answer, operation, attempt - 1)
                if not (answer.status in TRANSIENT or code in THROTTLED):
                    raise failure
            pause = min(MAX_PAUSE, random.random() * 2 ** (attempt - 1))
            if attempt == self._attempts or deadlines.time_left() <= pause:
                raise failure
            time.sleep(pause)
        raise ValueError("A client needs at least one attempt.")

    def _send(
        self, method: str, operation: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        url = self._url() + path
        signed = {**headers, **_signature(self._service, url, headers, body, method=method)}
        call = f"{self._service}.{operation}"
        idle = http_client.IDLE_LIMIT if self._attempts > 1 else http_client.IDLE_LIMIT_ONE_ATTEMPT
        return transport(call, url, signed, body, self._connect, self._read, idle, method)


def transport(
    call: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    connect: float,
    read: float,
    idle: float,
    method: str,
) -> Answer:
    """Send one attempt of a call, such as "sqs.SendMessage"; tests replace this function."""
    del call
    return http_client.request(method, url, headers, body, connect=connect, read=read, idle=idle)


@functools.cache
def endpoint(service: str) -> str:
    """Return a service's URL from the environment, or else AWS's URL."""
    given = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
    given = given or os.environ.get("AWS_ENDPOINT_URL")
    if given:
        return given.rstrip("/")
    region = _region()
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{HOSTS.get(service, service)}.{region}.{suffix}"


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ["AWS_DEFAULT_REGION"]


# ── Signature Version 4 ───────────────────────────────────────────────────────────────────────────


def _signature(
    service: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float | None = None,
    method: str = "POST",
) -> dict[str, str]:
    """Return the headers that sign a request with the credentials of the environment.

    The session token is signed, too; the trace header is sent unsigned.
    """
    stamp = _stamp(now)
    digest = hashlib.sha256(body).hexdigest()
    added = {"host": _host(url), "x-amz-date": stamp}
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        added["x-amz-security-token"] = token
    if service == "s3":
        added["x-amz-content-sha256"] = digest
    signed = dict(sorted({**headers, **added}.items()))
    scope = _scope(service, stamp)
    mac = _mac(method, service, url, signed, digest, stamp)
    added["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, "
        f"SignedHeaders={';'.join(signed)}, Signature={mac}"
    )
    added["user-agent"] = "geminichat"
    if trace := os.environ.get("_X_AMZN_TRACE_ID"):
        added["x-amzn-trace-id"] = trace
    return added


def presign(service: str, url: str, seconds: int, now: float) -> str:
    """Return the URL with a query that permits a GET for some seconds from `now` on.

    The permission ends earlier if the credentials of the environment expire.
    """
    stamp = _stamp(now)
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{os.environ['AWS_ACCESS_KEY_ID']}/{_scope(service, stamp)}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
    }
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        query["X-Amz-Security-Token"] = token
    url += "?" + "&".join(f"{name}={quote(query[name], safe='')}" for name in sorted(query))
    mac = _mac("GET", service, url, {"host": _host(url)}, "UNSIGNED-PAYLOAD", stamp)
    return f"{url}&X-Amz-Signature={mac}"


def _mac(
    method: str, service: str, url: str, headers: Mapping[str, str], digest: str, stamp: str
) -> str:
    """Return the signature of a request; `headers` must be sorted by name.

    For the signature, the path is encoded twice, except for S3.
    """
    path, _, query = url.partition("://")[2].partition("/")[2].partition("?")
    canonical = "\n".join(
        [
            method,
            "/" + (path if service == "s3" else quote(path, safe="/~")),
            query,
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            ";".join(headers),
            digest,
        ]
    )
    scope = _scope(service, stamp)
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"
    key = _signing_key(os.environ["AWS_SECRET_ACCESS_KEY"], scope)
    return hmac.digest(key, text.encode(), "sha256").hex()


def _stamp(now: float | None) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def _scope(service: str, stamp: str) -> str:
    return f"{stamp[:8]}/{_region()}/{service}/aws4_request"


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


@functools.lru_cache(maxsize=16)
def _signing_key(secret: str, scope: str) -> bytes:
    """Return the signing key of a scope: a day, a region and a service."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


# ── Errors ────────────────────────────────────────────────────────────────────────────────────────


def _connection_error(error: http_client.RequestFailed, url: str) -> Exception:
    if isinstance(error, http_client.NotConnected):
        return EndpointConnectionError(endpoint_url=url, error=error)
    if isinstance(error, http_client.TimedOut):
        return ReadTimeoutError(endpoint_url=url, error=error)
    return ConnectionClosedError(endpoint_url=url, error=error)


def _read_error(answer: Answer, operation: str, retries: int) -> tuple[str, ClientError]:
    """Return the code of an error, and the exception that botocore would raise."""
    body: dict[str, Any] = {}
    try:
        decoded = msgspec.json.decode(answer.body)
        body = decoded if isinstance(decoded, dict) else {}
    except msgspec.DecodeError:  # XML from SNS, or a proxy's page
        text = answer.body.decode(errors="replace")
        for name in ("Code", "Message"):
            if found := re.search(f"<{name}>([^<]*)</{name}>", text):
                body[name] = found[1]
    code = answer.headers.get("x-amzn-errortype") or body.get("__type") or body.get("Code")
    code = str(code or answer.status).split(":")[0].rpartition("#")[2]
    message = str(body.get("message") or body.get("Message") or "")
    metadata = {
        "HTTPStatusCode": answer.status,
        "HTTPHeaders": dict(answer.headers),
        "RequestId": answer.headers.get("x-amzn-requestid", ""),
        "RetryAttempts": retries,
    }
    response: Any = {
        **body,
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": metadata,
    }
    return code, ClientError(response, operation)
