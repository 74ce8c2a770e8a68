"""The Postman collection (v2.1) of every endpoint and a journey, made from the document."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from geminichat.errors import PROBLEM_TYPE
from infra.openapi.document import DocumentError
from infra.openapi.journey import JOURNEY, Step

type Json = dict[str, Any]

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

DESCRIPTION = """\
Generated from the API's OpenAPI document. Run the folder **Journey** from its first request: each
request checks the answer and stores values for later requests. The variable `baseUrl` is the
URL from which the collection was loaded. If the API's parameter `OtpDelivery` is `response`,
answers contain the one-time code; otherwise set `mobile` to your own number, and `otp` to the code
that you receive.

The other folders contain every endpoint and use the variables that the journey has set.
"""

VARIABLES = {
    "baseUrl": "http://127.0.0.1:8000",
    "email": "ada@example.com",
    "mobile": "+14155550100",
    "password": "correct horse battery staple",
    "otp": "",
    "challenge": "",
    "token": "",
    "refreshToken": "",
    "roomId": "",
    "messageId": "",
    "firstId": "",
    "idempotencyKey": "",
    "etag": "",
    "checkout": "",
    "asked": "0",
}

BODY_FIELDS = ("email", "mobile", "password", "otp", "challenge", "refreshToken")
"""Body fields whose example value is replaced with the variable of the same name."""

PATH = {"id": "{{roomId}}", "messageId": "{{messageId}}", "file": "start.js"}

ASKED_AT_MOST = 60
"""A step with `until` sends a request every second, at most this number of requests."""

HELPERS = {
    "header": "(name) => pm.response.headers.get(name)",
    "kept": "(name) => pm.collectionVariables.get(name)",
}
"""JavaScript functions for the scripts of a step, by name."""

EVERY_ANSWER = """\
pm.test("the answer has a request id", () => pm.response.to.have.header("x-request-id"));
"""


def collection(document: Json, journey: Sequence[Step] = JOURNEY) -> Json:
    """Return the collection. Raises DocumentError if the journey contradicts the document."""
    operations = {
        operation["operationId"]: _Operation(document, method, path, operation)
        for path, verbs in document["paths"].items()
        for method, operation in verbs.items()
    }
    return {
        "info": {
            "name": document["info"]["title"],
            "description": DESCRIPTION,
            "schema": SCHEMA,
        },
        "auth": _bearer("{{token}}"),
        "variable": [{"key": name, "value": value} for name, value in VARIABLES.items()],
        "event": [_script("test", EVERY_ANSWER.splitlines())],
        "item": [
            {
                "name": "Journey",
                "description": "One user's journey through the API, from sign-up to log-out.",
                "item": [_step(number, step, operations) for number, step in enumerate(journey, 1)],
            },
            *(
                {
                    "name": tag["name"],
                    "description": tag["description"],
                    "item": [one.item() for one in operations.values() if one.tag == tag["name"]],
                }
                for tag in document["tags"]
            ),
        ],
    }


class _Operation:
    """An endpoint as the document describes it."""

    def __init__(self, document: Json, method: str, path: str, operation: Json) -> None:
        self._document = document
        self._method = method.upper()
        self._path = path
        self._operation = operation

    @property
    def tag(self) -> str:
        return str(self._operation["tags"][0])

    def item(self) -> Json:
        """Return the collection's item for the endpoint, with optional parameters disabled."""
        return {
            "name": self._operation["summary"],
            "request": self.request(Step(says="", operation="", status=0)),
        }

    def request(self, step: Step) -> Json:
        request: Json = {
            "method": self._method,
            "description": self._operation["description"],
            "header": list(self._headers(step)),
            "url": self._url(step),
        }
        if self._operation.get("security") == []:
            request["auth"] = {"type": "noauth"}
        elif step.token != "{{token}}":  # noqa: S105
            request["auth"] = _bearer(step.token)
        body = self._example(step) if step.body is None else step.body
        if body is not None:
            text = body if isinstance(body, str) else json.dumps(body, indent=2)
            language = {"raw": {"language": "json"}}
            request["body"] = {"mode": "raw", "raw": text, "options": language}
            request["header"].append({"key": "Content-Type", "value": "application/json"})
        return request

    def _url(self, step: Step) -> Json:
        names = re.findall(r"\{(\w+)\}", self._path)
        path = re.sub(r"\{(\w+)\}", r":\1", self._path)
        query = [
            {
                "key": parameter["name"],
                "value": step.query.get(
                    parameter["name"], str(parameter["schema"].get("default", ""))
                ),
                "description": parameter["description"],
                "disabled": parameter["name"] not in step.query,
            }
            for parameter in self._parameters("query")
        ]
        asked = "&".join(f"{one['key']}={one['value']}" for one in query if not one["disabled"])
        return {
            "raw": "{{baseUrl}}" + path + (f"?{asked}" if asked else ""),
            "host": ["{{baseUrl}}"],
            "path": [part for part in path.split("/") if part],
            "query": query,
            "variable": [{"key": name, "value": PATH[name]} for name in names],
        }

    def _headers(self, step: Step) -> Iterator[Json]:
        for parameter in self._parameters("header"):
            name = parameter["name"]
            yield {
                "key": name,
                "value": step.headers.get(name, ""),
                "description": parameter["description"],
                "disabled": name not in step.headers and not parameter.get("required", False),
            }

    def _parameters(self, where: str) -> list[Json]:
        return [one for one in self._operation.get("parameters", []) if one["in"] == where]

    def _example(self, step: Step) -> Any:
        """Return the example of the request's body, with variables as the values of BODY_FIELDS."""
        content = self._operation.get("requestBody", {}).get("content", {})
        examples = content.get("application/json", {}).get("examples")
        if not examples:
            return None
        value = examples[step.example or next(iter(examples))]["value"]
        return {
            name: f"{{{{{name}}}}}" if name in BODY_FIELDS else item for name, item in value.items()
        }

    def list_checks(self, step: Step) -> Iterator[str]:
        """Yield the checks that the document implies for an answer. Raises DocumentError."""
        where = f"infra/openapi/journey.py: {step.says}: "
        try:
            answer = self._resolve(self._operation["responses"][str(step.status)])
        except KeyError:
            raise DocumentError(f"{where}{step.status} is not documented") from None
        if unknown := set(step.shows) - set(answer["headers"]):
            raise DocumentError(f"{where}{unknown} are not documented")
        said = f"{step.status} {HTTPStatus(step.status).phrase}"
        yield f'pm.test("{said}", () => pm.response.to.have.status({step.status}));'
        for header in step.shows:
            yield f'pm.test("{header}", () => pm.response.to.have.header("{header}"));'
        if step.code:
            kind = PROBLEM_TYPE + step.code
            schema = answer["content"]["application/problem+json"]["schema"]
            problem, narrower = (self._resolve(part) for part in schema["allOf"])
            if kind not in narrower["properties"]["type"]["enum"]:
                raise DocumentError(f"{where}{step.code} is not documented")
            yield "const answer = pm.response.json();"
            yield from _has_fields("the answer is a problem", "answer", problem["required"])
            yield f'pm.test("{step.code}", () => pm.expect(answer.type).to.equal("{kind}"));'
        elif "content" in answer:
            schema = answer["content"]["application/json"]["schema"]
            yield "const answer = pm.response.json();"
            yield from _has_fields("the answer is an envelope", "answer", schema["required"])
            data = self._resolve(schema["properties"]["data"])
            if fields := data.get("required"):
                yield from _has_fields("the data are complete", "answer.data", fields)

    def _resolve(self, value: Json) -> Json:
        if "$ref" not in value:
            return value
        found: Any = self._document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return dict(found)


def _step(number: int, step: Step, operations: Mapping[str, _Operation]) -> Json:
    if step.operation not in operations:
        raise DocumentError(f"infra/openapi/journey.py: there is no operation '{step.operation}'")
    operation = operations[step.operation]
    events = [_script("test", _checks(step, operation))]
    if step.before:
        events.insert(0, _script("prerequest", step.before))
    return {
        "name": f"{number}. {step.says}",
        "event": events,
        "request": operation.request(step),
    }


def _checks(step: Step, operation: _Operation) -> Iterator[str]:
    saves = [
        f'pm.collectionVariables.set("{name}", {value});' for name, value in step.saves.items()
    ]
    checks = [
        *operation.list_checks(step),
        *(
            f'pm.test("{says}", () => pm.expect({holds}).to.be.true);'
            for says, holds in step.expects.items()
        ),
    ]
    used = " ".join([*saves, *checks, f"{step.until} kept(" if step.until else ""])
    yield from (f"const {name} = {what};" for name, what in HELPERS.items() if f"{name}(" in used)
    if step.until is None:
        yield from [*checks, *saves]
    else:
        yield from _until(step.until, checks)


def _until(holds: str, checks: list[str]) -> Iterator[str]:
    """Yield the lines of a script that repeats the request and checks the last answer."""
    yield 'const asked = Number(kept("asked")) + 1;'
    yield f"const waiting = ({{ answer }}) => !({holds});"
    yield f"if (pm.response.code < 300 && asked < {ASKED_AT_MOST}"
    yield "    && waiting({ answer: pm.response.json() })) {"
    yield '  pm.collectionVariables.set("asked", asked);'
    yield "  pm.execution.setNextRequest(pm.info.requestId);"
    yield "  setTimeout(() => {}, 1000);  // the next request waits until this script ends"
    yield "} else {"
    yield '  pm.collectionVariables.set("asked", 0);'
    yield from (f"  {check}" for check in checks)
    yield '  pm.test("the answer came within a minute", () =>'
    yield f"    pm.expect(asked).to.be.below({ASKED_AT_MOST}));"
    yield "}"


def _has_fields(says: str, value: str, fields: list[str]) -> Iterator[str]:
    listed = json.dumps(fields)
    yield f'pm.test("{says}", () => pm.expect({value}).to.include.all.keys({listed}));'


def _bearer(token: str) -> Json:
    return {"type": "bearer", "bearer": [{"key": "token", "value": token, "type": "string"}]}


def _script(listen: str, lines: Iterable[str]) -> Json:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": list(lines)}}
