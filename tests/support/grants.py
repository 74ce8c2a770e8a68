"""The AWS actions that functions call in tests, compared with the grants of their roles.

A test fails if it makes a call without a grant. A run of all integration tests fails if a grant is
never used or a function is never invoked.
"""

import functools
import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.environment import VALUES
from tests.support.template import (
    FUNCTIONS,
    RESOURCES,
    as_list,
    folder_of,
    mappings_of,
    queue_of,
    statements_in,
)

FOLDERS = {folder_of(function): function for function in FUNCTIONS}
TRANSACTED = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}
SECRET = "ssm:GetParameter"
CONNECTIONS = "execute-api:ManageConnections"
OBJECT_ACTIONS = {
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
}
"""The permissions that calls for an object require."""
BY_URL = "s3:GetObject"
"""The action that a presigned URL permits; the function that signs the URL does not call S3."""
METHODS = {"PostToConnection": "POST", "DeleteConnection": "DELETE"}
"""The calls of the @connections API; a grant names the method, but no connection."""
ANY = "any"
"""The resource of sending a text message or an email, which has none in the template."""


class Use(NamedTuple):
    """A permission of a function: an action on a resource, granted or used."""

    function: str
    action: str
    resource: str


recorded: set[tuple[str, ...]] = set()
"""Every use in this process; an invocation has neither action nor resource."""

_NAMES = {str(name): logical_id for logical_id, name in VALUES.refs.items()}


def note_invocation(function: str) -> None:
    """Record that a test invokes a function."""
    recorded.add(Use(function, "", ""))


def note(call: str, body: bytes, url: str) -> None:
    """Record an AWS call such as "dynamodb.PutItem" for the function that makes the call."""
    function = _calling_function()
    if function:
        recorded.update(Use(function, *use) for use in uses(call, body, url))


POLLING = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
"""The calls that Lambda itself makes with a function's role, for an event source mapping."""


def list_polling() -> set[Use]:
    """Return the permissions that functions need only because a queue invokes them."""
    return {
        Use(function, action, queue_of(mapping))
        for function in FUNCTIONS
        for mapping in mappings_of(function)
        for action in POLLING
    }


def list_refused() -> set[Use]:
    """Return the recorded uses that the template does not grant."""
    return {Use(*use) for use in recorded.copy() if use[1]} - list_grants()


def list_unused(uses: Iterable[tuple[str, ...]]) -> list[str]:
    """Return a line for each function that was not invoked, and for each grant not used.

    tests/unit/test_house.py checks the grants of secrets, which a process fetches only once;
    tests/e2e checks the grant of archives, because users fetch an archive by its URL.
    """
    known = set(uses)
    untested = sorted(set(FUNCTIONS) - {function for function, *_ in known})
    return [f"{function}: no integration test invokes it" for function in untested] + [
        f"{use.function}: no integration test uses its grant of {use.action} on {use.resource}"
        for use in sorted(list_grants() - list_polling() - known)
        if use.function not in untested and use.action not in (SECRET, BY_URL)
    ]


@functools.cache
def list_grants() -> set[Use]:
    """Return the permissions in the template's policies: each Action with each Resource."""
    return {
        Use(function, action, resource)
        for function, properties in FUNCTIONS.items()
        for policy in properties.get("Policies", [])
        for statement in statements_in(RESOURCES[policy["Ref"]] if "Ref" in policy else policy)
        for action in as_list(statement.get("Action", []))
        for resource in _resources(statement, action)
    }


def _resources(statement: dict[str, Any], action: str) -> Iterator[str]:
    if action in ("sns:Publish", "ses:SendEmail"):
        yield ANY
        return
    for resource in as_list(statement.get("Resource", [])):
        match resource:
            case {"Fn::Sub": str(text)} if action == CONNECTIONS:
                yield text.split("/")[2]
            case {"Fn::GetAtt": [str(name), "Arn"]}:
                yield name
            case {"Fn::Sub": str(text)} if action == SECRET:
                yield text.rpartition("/")[2]
            case {"Fn::Sub": str(text)}:
                yield re.sub(r"\$\{(\w+)\.Arn\}", r"\1", text)


def uses(call: str, body: bytes, url: str = "") -> Iterator[tuple[str, str]]:
    """Yield the action and the resource of each permission that an AWS call requires."""
    service, _, operation = call.partition(".")
    if service == "sts":
        return  # AWS allows everybody to ask who they are
    if service in ("sns", "ses"):
        yield f"{service}:{operation}", ANY
        return
    if service == "execute-api":
        yield CONNECTIONS, METHODS[operation]
        return
    if service == "s3":
        bucket = _NAMES[urlsplit(url).path.split("/")[1]]
        if operation == "ListObjectsV2":
            yield "s3:ListBucket", bucket
        else:
            yield OBJECT_ACTIONS[operation], f"{bucket}/*"
        return
    request = json.loads(body)
    match operation:
        case "TransactWriteItems" | "TransactGetItems":
            for item in request["TransactItems"]:
                for kind, write in item.items():
                    yield f"dynamodb:{TRANSACTED[kind]}", _NAMES[write["TableName"]]
        case "BatchGetItem" | "BatchWriteItem":
            for table in request["RequestItems"]:
                yield f"dynamodb:{operation}", _NAMES[table]
        case "ChangeMessageVisibilityBatch":
            for action in (operation, operation.removesuffix("Batch")):
                yield f"{service}:{action}", _NAMES[request["QueueUrl"]]
        case "GetParameter":
            yield SECRET, request["Name"].rpartition("/")[2]
        case _:
            resource = _NAMES[request.get("TableName") or request["QueueUrl"]]
            index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
            yield f"{service}:{operation}", resource + index


def _calling_function() -> str | None:
    """Return the template's function that makes this call; None if a test makes it."""
    frame: FrameType | None = sys._getframe()
    while frame:
        caller = _caller(frame.f_code.co_filename, frame.f_code.co_name)
        if caller == INVOKED:
            return str(frame.f_locals["function"])
        if caller:
            return None if caller == A_TEST else caller
        frame = frame.f_back
    return getattr(threading.current_thread(), "function", None)


@functools.cache
def _caller(file: str, name: str) -> str | None:
    """Return the function whose handler is in this file; else INVOKED, A_TEST or None."""
    path = Path(file)
    if path.name == "app.py" and path.parent.name in FOLDERS:
        return FOLDERS[path.parent.name]
    if path == SUPPORT / "lambdas.py" and name == "invoke":
        return INVOKED
    return A_TEST if path.is_relative_to(SUPPORT.parent) and name not in OUR_FRAMES else None


_start_thread = threading.Thread.start


def _start(thread: threading.Thread) -> None:
    """Start a thread, and attribute its calls to the function that starts it."""
    thread.function = _calling_function()  # type: ignore[attr-defined]
    _start_thread(thread)


threading.Thread.start = _start  # type: ignore[method-assign, assignment]


SUPPORT = Path(__file__).resolve().parent
INVOKED, A_TEST = "invoked", "a test"
OUR_FRAMES = {"_calling_function", "note", "_transport", "_start"}
"""The functions of tests/support through which a call of the code under test passes."""
