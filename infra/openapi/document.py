"""The OpenAPI 3.1 document, put together from the template's routes and the endpoints' code."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import count, groupby, pairwise
from typing import Any

import msgspec

from geminichat import api
from geminichat.api import PROBLEM_TYPE
from geminichat.config import VERSION
from geminichat.errors import AppError, InvalidRequest
from infra.openapi import examples, reading, words
from infra.openapi.endpoints import Endpoint, endpoints
from infra.openapi.reading import Reading, Refusal

type Json = dict[str, Any]
type Refused = tuple[str, AppError]
"""What a body that does not fit is told, with the name of what is wrong."""

REF = "#/components/schemas/{name}"


class DocumentError(Exception):
    """What the document can't say yet, and what to do about it."""


def document() -> Json:
    """Return the whole document. Raises DocumentError."""
    return _Document(endpoints()).whole()


def operation_id(endpoint: Endpoint) -> str:
    """Return the endpoint's name in camelCase."""
    first, *rest = endpoint.name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class _Document:
    def __init__(self, found: list[Endpoint]) -> None:
        self._endpoints = found
        self._readings = {endpoint.route: reading.read(endpoint.handler) for endpoint in found}
        self._replies = {endpoint.route: reading.reply(endpoint.handler) for endpoint in found}
        self._responses: dict[str, Json] = {}
        self._schemas, self._structs = _schemas(self._types())

    def whole(self) -> Json:
        """Return the document."""
        paths: dict[str, Json] = {}
        for endpoint in self._endpoints:
            verbs = paths.setdefault(endpoint.path, {})
            verbs[endpoint.method.lower()] = self._operation(endpoint)
        used = {words.AREAS[endpoint.area] for endpoint in self._endpoints}
        return {
            "openapi": "3.1.0",
            "info": {
                "title": words.TITLE,
                "version": VERSION,
                "summary": "A serverless backend for chat products on Google Gemini",
                "description": words.DESCRIPTION,
            },
            "servers": [{"url": "/"}],
            "security": [{"bearer": []}],
            "tags": [
                {"name": name, "description": said}
                for name, said in words.TAGS.items()
                if name in used
            ],
            "paths": paths,
            "components": {
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "bearerFormat": "JWT",
                        "description": words.BEARER,
                    }
                },
                "headers": {
                    _shown(name): {"description": said["description"], "schema": said["schema"]}
                    for name, said in words.ANSWER_HEADERS.items()
                },
                "responses": dict(sorted(self._responses.items())),
                "schemas": self._schemas | {"Problem": PROBLEM},
            },
        }

    def _types(self) -> set[Any]:
        bodies = {kind for found in self._readings.values() for kind, _ in found.bodies}
        return bodies | {kind for kind in self._replies.values() if kind}

    def _operation(self, endpoint: Endpoint) -> Json:
        found = self._readings[endpoint.route]
        if endpoint.area not in words.AREAS:
            raise DocumentError(f"infra/openapi/words.py: AREAS does not know '{endpoint.area}'")
        operation: Json = {
            "operationId": operation_id(endpoint),
            "tags": [words.AREAS[endpoint.area]],
            "summary": _summary(endpoint),
            "description": re.sub("^Answer ", "Answers ", inspect.getdoc(endpoint.handler) or ""),
        }
        if reading.is_public(endpoint.handler):
            operation["security"] = []
        if parameters := self._parameters(endpoint, found):
            operation["parameters"] = parameters
        if found.raw:
            operation["requestBody"] = words.RAW_BODY
        elif found.bodies:
            operation["requestBody"] = self._body(found)
        operation["responses"] = self._answers(endpoint, found)
        return operation

    def _parameters(self, endpoint: Endpoint, found: Reading) -> list[Json]:
        def said(table: Mapping[str, Json], what: str, name: str) -> Json:
            if name not in table:
                raise DocumentError(
                    f"{endpoint.route} reads the {what} '{name}': say what it is in"
                    " infra/openapi/words.py"
                )
            return {"name": name, **table[name]}

        in_path = re.findall(r"\{(\w+)\}", endpoint.path)
        return [
            *(
                {"in": "path", "required": True} | said(words.PATH_PARAMETERS, "path", name)
                for name in in_path
            ),
            *(
                {"in": "query"} | said(words.QUERY, "query parameter", name)
                for name in words.QUERY
                if name in found.query
            ),
            *(
                said(words.QUERY, "query parameter", name)
                for name in found.query - words.QUERY.keys()
            ),
            *(
                {"in": "header"} | said(words.HEADERS, "header", name)
                for name in sorted(found.headers)
            ),
        ]

    def _body(self, found: Reading) -> Json:
        ((kind, optional),) = found.bodies
        return {
            "required": not optional,
            "content": {
                "application/json": {
                    "schema": {"$ref": REF.format(name=kind.__name__)},
                    "examples": _named(examples.of(kind)),
                }
            },
        }

    def _answers(self, endpoint: Endpoint, found: Reading) -> Json:
        answers = {str(status): self._success(endpoint, found, status) for status in found.statuses}
        by_status = sorted(found.refusals, key=_order)
        refused = [error for kind, _ in found.bodies for error in examples.refused(kind).items()]
        for status, group in groupby(by_status, key=lambda r: r.error.status):
            if status in found.statuses:
                raise DocumentError(f"{endpoint.route} answers {status} both as error and not")
            name = self._refusal(list(group), refused)
            answers[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return dict(sorted(answers.items()))

    def _success(self, endpoint: Endpoint, found: Reading, status: int) -> Json:
        answer: Json = {
            "description": words.STATUSES.get(status, HTTPStatus(status).phrase),
            "headers": _headers({"x-request-id"} | found.sent),
        }
        kind = self._replies[endpoint.route]
        if status in (204, 304):
            return answer
        if found.content_types:
            kinds = sorted(content_type.partition(";")[0] for content_type in found.content_types)
            answer["content"] = {
                kind: {"schema": {"type": "object" if kind.endswith("json") else "string"}}
                for kind in kinds
            }
            return answer
        answer["content"] = {
            "application/json": {
                "schema": self._envelope(kind, found, status),
                "examples": {
                    name: {
                        "value": {
                            "success": status < 400,
                            "message": answer["description"]
                            if status >= 400
                            else min(found.messages, default="Done."),
                            "data": value,
                            **{
                                word: value[word] if fixed is None else fixed
                                for word, fixed in sorted(found.extensions)
                            },
                        }
                    }
                    for name, value in _examples(endpoint, kind, status).items()
                },
            }
        }
        return answer

    def _envelope(self, kind: type | None, found: Reading, status: int) -> Json:
        data = {"$ref": REF.format(name=kind.__name__)} if kind else {"type": "null"}
        fields = self._structs[kind]["properties"] if kind else {}
        beside = {
            word: fields[word] if fixed is None else {"const": fixed}
            for word, fixed in sorted(found.extensions)
        }
        return {
            "type": "object",
            "required": ["success", "message", "data", *beside],
            "properties": {
                "success": {"const": status < 400},
                "message": {"type": "string", "description": "One sentence for a person."},
                "data": data,
                **beside,
            },
        }

    def _refusal(self, refusals: list[Refusal], refused: Sequence[Refused]) -> str:
        """Return the name of the response for these errors of one status, making it once."""
        codes = {code: list(group) for code, group in groupby(refusals, key=lambda r: r.code)}
        made = _problem_response(codes, refused)
        for number in count(1):
            name = ".".join(codes) + (f"-{number}" if number > 1 else "")
            if self._responses.setdefault(name, made) == made:
                break
        return name


def _problem_response(codes: Mapping[str, list[Refusal]], refused: Sequence[Refused]) -> Json:
    """Return the response for the errors of one status, by code."""
    first = next(iter(codes.values()))[0]
    said = {code: _meaning(group) for code, group in codes.items()}
    headers = {"x-request-id"}.union(*(_headers_of(r) for group in codes.values() for r in group))
    extensions = {word for group in codes.values() for r in group for word in r.extensions}
    if unknown := extensions - EXTENSIONS.keys():
        raise DocumentError(f"infra/openapi/document.py: EXTENSIONS does not know {unknown}")
    return {
        "description": "\n".join(f"- `{code}`: {meaning}" for code, meaning in said.items()),
        "headers": _headers(headers),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        {"$ref": REF.format(name="Problem")},
                        {
                            "properties": {
                                "type": {"enum": [PROBLEM_TYPE + code for code in codes]},
                                "status": {"const": first.error.status},
                                **{word: EXTENSIONS[word] for word in sorted(extensions)},
                            }
                        },
                    ]
                },
                "examples": {
                    name: {"value": value}
                    for code, group in codes.items()
                    for name, value in _problems(code, group, refused)
                },
            }
        },
    }


def _order(refusal: Refusal) -> tuple[int, str, int, str, str]:
    """Sort by status and code; of one code, what is general comes first."""
    error = refusal.error
    depth = len(error.__mro__)
    return error.status, refusal.code, depth, error.__name__, refusal.detail or ""


def _details(refusals: Iterable[Refusal]) -> list[str]:
    return sorted({r.detail for r in refusals if r.detail})


def _meaning(refusals: list[Refusal]) -> str:
    """Return what an error of one code means: what it says, else what its class says of itself."""
    first = refusals[0]
    if first.code in words.ERRORS:
        return words.ERRORS[first.code]
    if first.code != first.error.code:
        said = _details(refusals)
        if not said:
            raise DocumentError(f"infra/openapi/words.py: ERRORS must say what {first.code} means")
        return " ".join(_sentence(one) for one in said)
    return " ".join((inspect.getdoc(first.error) or "").split("\n\n")[0].split())


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."


def _problems(
    code: str, refusals: list[Refusal], refused: Sequence[Refused]
) -> Iterator[tuple[str, Json]]:
    """Give an example for each thing that an error of this code may say."""
    bodies = [(name, error) for name, error in refused if error.code == code]
    yield from ((name, _problem(error)) for name, error in bodies)
    said = {
        error.detail: error
        for refusal in sorted(refusals, key=lambda r: r.detail or "")
        if (error := _said(refusal))
    }
    if not said and not bodies:
        own = getattr(refusals[0].error, "detail", None) or _meaning(refusals)
        said = {own: refusals[0].error(own)}
    extensions = sorted({word for refusal in refusals for word in refusal.extensions})
    for number, error in enumerate(said.values(), 1):
        example = _problem(error) | {word: EXTENSIONS[word]["examples"][0] for word in extensions}
        yield f"{code}-{number}" if len(said) > 1 else code, example


def _said(refusal: Refusal) -> AppError | None:
    """Return the error as it is raised; None where only running the code would tell its words."""
    own = refusal.error if refusal.code == refusal.error.code else None
    detail = refusal.detail or getattr(own, "detail", None)
    if detail is None or refusal.pointer == "":
        return None
    if refusal.pointer:
        return (
            refusal.error.at({refusal.pointer: detail})
            if issubclass(refusal.error, InvalidRequest)
            else None
        )
    return refusal.error(detail)


def _problem(error: AppError) -> Json:
    """Return the problem as the wire has it."""
    shown: Json = msgspec.json.decode(api._problem(error, examples.REQUEST_ID)["body"])
    return shown


def _headers_of(refusal: Refusal) -> set[str]:
    """Return the headers that come with an error: its class's, and those it was given."""
    error = refusal.error(detail="")
    return {name for name in error.headers if name in words.ANSWER_HEADERS} | refusal.headers


def _headers(names: Iterable[str]) -> Json:
    return {
        _shown(name): {"$ref": f"#/components/headers/{_shown(name)}"} for name in sorted(names)
    }


def _shown(name: str) -> str:
    return words.SHOWN.get(name) or (name if name.startswith("x-") else name.title())


def _summary(endpoint: Endpoint) -> str:
    """Return the sentence that a handler's docstring opens with, after its route."""
    module = inspect.getmodule(inspect.unwrap(endpoint.handler))
    opening, _, said = " ".join((inspect.getdoc(module) or "").split("\n\n")[0].split()).partition(
        ": "
    )
    if opening != endpoint.route or not said:
        raise DocumentError(
            f"functions/{endpoint.name}/app.py must open with '{endpoint.route}: what it does.'"
        )
    return said[0].upper() + said[1:].removesuffix(".")


def _examples(endpoint: Endpoint, kind: type | None, status: int) -> dict[str, Any]:
    return examples.answers(endpoint.route, kind, status) if kind else {"done": None}


def _named(values: Mapping[str, Any]) -> Json:
    return {name: {"value": value} for name, value in values.items()}


def _schemas(types: Iterable[Any]) -> tuple[dict[str, Json], dict[Any, Json]]:
    """Return the components for these types and what they hold, by name; and by type."""
    ordered = sorted(types, key=lambda kind: str(kind.__name__))
    _, components = msgspec.json.schema_components(ordered, ref_template=REF)
    named: dict[str, Json] = {name: components[name] for name in sorted(components)}
    for kind in _structs_within(ordered):
        schema = named[kind.__name__]
        schema |= getattr(kind, "json_schema", {})
        for name, said in _said_of_fields(kind).items():
            schema["properties"][name] = _described(schema["properties"][name], said)
        schema["description"] = " ".join(schema.get("description", "").split())
    return named, {kind: named[kind.__name__] for kind in ordered}


def _said_of_fields(kind: type) -> dict[str, str]:
    """Return what stands below a struct's fields in their docstrings, by their name on the wire."""
    wire = {one.name: one.encode_name for one in msgspec.structs.fields(kind)}
    found: dict[str, str] = {}
    for owner in reversed(
        [one for one in kind.__mro__ if one.__module__.startswith("geminichat.")]
    ):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        if isinstance(tree, ast.ClassDef):
            for part, following in pairwise(tree.body):
                match part, following:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(said))),
                    ) if name in wire:
                        found[wire[name]] = " ".join(said.split())
    return found


def _described(schema: Json, said: str) -> Json:
    return schema | {"description": said}  # 3.1 allows it beside a $ref


def _structs_within(types: Iterable[Any]) -> list[type]:
    """Return the structs among these types and in their fields."""
    found: dict[type, None] = {}

    def walk(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in found:
                return
            found[info.cls] = None
            for one in info.fields:
                walk(one.type)
        elif isinstance(info, msgspec.inspect.UnionType):
            for member in info.types:
                walk(member)
        elif isinstance(info, msgspec.inspect.ListType):
            walk(info.item_type)

    for info in msgspec.inspect.multi_type_info(types):
        walk(info)
    return list(found)


EXTENSIONS: dict[str, Json] = {
    "resetsAt": {
        "type": "string",
        "format": "date-time",
        "description": "When the limit starts anew: the day's at midnight UTC.",
        "examples": ["2026-11-24T00:00:00.000Z"],
    },
}
"""Fields that some errors carry beyond RFC 9457's."""

PROBLEM: Json = {
    "type": "object",
    "description": "An error, as RFC 9457 has it, with `success` and `message` beside.",
    "required": ["type", "title", "status", "detail", "instance", "success", "message"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "description": "Stable; ends in the error's code.",
        },
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "One sentence for a person."},
        "instance": {"type": "string", "description": "The request's id."},
        "success": {"const": False},
        "message": {"type": "string", "description": "The same as `detail`."},
        "errors": {
            "type": "array",
            "description": "What is wrong with the body, and where.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "format": "json-pointer",
                        "description": "The place in the body (RFC 6901).",
                    },
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
