"""The OpenAPI 3.1 document, made from the template's routes and the endpoints' declarations."""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from itertools import count, pairwise
from typing import Any

import msgspec

from geminichat.config import VERSION
from infra.openapi import examples, problems, words
from infra.openapi.answers import answers_of
from infra.openapi.endpoints import Endpoint, endpoints

type Json = dict[str, Any]

REF = "#/components/schemas/{name}"


class DocumentError(Exception):
    """A part of the document is missing; the message names the part and the place to add it."""


def document() -> Json:
    """Return the OpenAPI document as JSON. Raises DocumentError."""
    return _Document(endpoints()).whole()


def operation_id(endpoint: Endpoint) -> str:
    """Return the endpoint's name in camelCase."""
    first, *rest = endpoint.name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class _Document:
    def __init__(self, found: list[Endpoint]) -> None:
        self._endpoints = found
        self._responses: dict[str, Json] = {}
        self._schemas = _schemas(_structs_of(found))

    def whole(self) -> Json:
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
                {"name": name, "description": description}
                for name, description in words.TAGS.items()
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
                "headers": words.ANSWER_HEADERS,
                "responses": dict(sorted(self._responses.items())),
                "schemas": self._schemas | problems.SCHEMAS,
            },
        }

    def _operation(self, endpoint: Endpoint) -> Json:
        if endpoint.area not in words.AREAS:
            raise DocumentError(f"infra/openapi/words.py: AREAS does not contain '{endpoint.area}'")
        operation: Json = {
            "operationId": operation_id(endpoint),
            "tags": [words.AREAS[endpoint.area]],
            "summary": _summary(endpoint),
            "description": re.sub("^Answer ", "Answers ", inspect.getdoc(endpoint.handler) or ""),
        }
        if endpoint.is_public:
            operation["security"] = [{}, {"bearer": []}] if endpoint.has_optional_caller else []
        if parameters := _parameters(endpoint):
            operation["parameters"] = parameters
        if body := _body(endpoint):
            operation["requestBody"] = body
        answers = answers_of(endpoint.route)
        statuses = (answers.status, *answers.also)
        responses = {str(status): self._success(endpoint, status) for status in statuses}
        for status, response in problems.responses(endpoint).items():
            if status not in statuses:
                responses[str(status)] = {"$ref": self._component(*response)}
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _success(self, endpoint: Endpoint, status: int) -> Json:
        answers = answers_of(endpoint.route)
        answer: Json = {
            "description": words.STATUSES.get(status, HTTPStatus(status).phrase),
            "headers": words.headers(
                {"x-request-id", *answers.headers}
                | (set() if endpoint.is_public else {"Cache-Control"})
            ),
        }
        if status in (204, 304):
            return answer
        if answers.content_types:
            answer["content"] = {
                kind: {"schema": {"type": "object" if kind.endswith("json") else "string"}}
                for kind in answers.content_types
            }
            return answer
        succeeded = status < 400
        message = endpoint.message if succeeded else answer["description"]
        answer["content"] = {
            "application/json": {
                "schema": _envelope(endpoint.data, answers.extensions, succeeded=succeeded),
                "examples": {
                    name: {
                        "value": {
                            "success": succeeded,
                            "message": message,
                            "data": value,
                            **{
                                field: schema.get("const") or value[field]
                                for field, schema in answers.extensions.items()
                            },
                        }
                    }
                    for name, value in _examples(endpoint, status).items()
                },
            }
        }
        return answer

    def _component(self, name: str, response: Json) -> str:
        """Store a response unless an equal response is stored; return its reference."""
        for number in count(1):
            numbered = f"{name}-{number}" if number > 1 else name
            if self._responses.setdefault(numbered, response) == response:
                break
        return f"#/components/responses/{numbered}"


def _structs_of(found: Iterable[Endpoint]) -> set[type]:
    structs = {endpoint.data for endpoint in found} | {
        endpoint.body[0] for endpoint in found if endpoint.body
    }
    return {struct for struct in structs if struct}


def _parameters(endpoint: Endpoint) -> list[Json]:
    answers = answers_of(endpoint.route)
    in_path = re.findall(r"\{(\w+)\}", endpoint.path)
    try:
        return [
            *(
                {"name": name, "in": "path", "required": True, **words.PATH_PARAMETERS[name]}
                for name in in_path
            ),
            *(
                {"name": name, "in": "query", "allowEmptyValue": True, **words.QUERY[name]}
                for name in answers.query
            ),
            *({"in": "header", **words.HEADERS[name]} for name in answers.request_headers),
        ]
    except KeyError as unknown:
        raise DocumentError(
            f"{endpoint.route} has the parameter {unknown}: describe it in infra/openapi/words.py"
        ) from None


def _body(endpoint: Endpoint) -> Json | None:
    if answers_of(endpoint.route).raw_body:
        return words.RAW_BODY
    if endpoint.body is None:
        return None
    struct, optional = endpoint.body
    return {
        "required": not optional,
        "content": {
            "application/json": {
                "schema": {"$ref": REF.format(name=struct.__name__)},
                "examples": {name: {"value": value} for name, value in examples.of(struct).items()},
            }
        },
    }


def _envelope(data: type | None, extensions: Mapping[str, Json], *, succeeded: bool) -> Json:
    return {
        "type": "object",
        "required": ["success", "message", "data", *extensions],
        "properties": {
            "success": {"const": succeeded},
            "message": {"type": "string", "description": "One sentence for a person."},
            "data": {"$ref": REF.format(name=data.__name__)} if data else {"type": "null"},
            **extensions,
        },
    }


def _summary(endpoint: Endpoint) -> str:
    """Return the first sentence of a module's docstring, without "METHOD /path: "."""
    module = inspect.getmodule(inspect.unwrap(endpoint.handler))
    opening, _, summary = " ".join(
        (inspect.getdoc(module) or "").split("\n\n")[0].split()
    ).partition(": ")
    if opening != endpoint.route or not summary:
        raise DocumentError(
            f"functions/{endpoint.name}/app.py must begin with '{endpoint.route}: SUMMARY.'"
        )
    return summary[0].upper() + summary[1:].removesuffix(".")


def _examples(endpoint: Endpoint, status: int) -> dict[str, Any]:
    if endpoint.data is None:
        return {"done": None}
    return examples.answers(endpoint.route, endpoint.data, status)


def _schemas(structs: Iterable[type]) -> dict[str, Json]:
    """Return the schemas of these structs, and of the structs in their fields, by name."""
    ordered = sorted(structs, key=lambda struct: struct.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=REF)
    for struct in _structs_within(ordered):
        schema = components[struct.__name__]
        schema |= getattr(struct, "json_schema", {})
        schema["description"] = " ".join(schema.get("description", "").split())
        fields = schema["properties"]
        for name, description in _descriptions(struct).items():
            fields[name]["description"] = description  # OpenAPI 3.1 allows this next to $ref
        if struct.__struct_config__.forbid_unknown_fields:
            for field in fields.values():
                _describe_default(field)
        else:
            _require_defaults(schema)
        if "oneOf" in schema:
            components[struct.__name__] = _union(schema)
    return dict(sorted(components.items()))


def _union(schema: Json) -> Json:
    """Return an object's schema as a union: one complete object per alternative.

    Client generators then make a separate model of each alternative.
    """
    return {
        "title": schema["title"],
        "description": schema["description"],
        "oneOf": [
            {
                "title": f"{schema['title']}By{alternative['required'][0].capitalize()}",
                "type": "object",
                "properties": {
                    name: _narrow(field, alternative["properties"].get(name, {}))
                    for name, field in schema["properties"].items()
                },
                "required": sorted({*schema["required"], *alternative["required"]}),
                "additionalProperties": False,
            }
            for alternative in schema["oneOf"]
        ],
    }


def _narrow(field: Json, to: Json) -> Json:
    """Return the member of the field's `anyOf` with the type of `to`; without one, the field."""
    members = field.get("anyOf", [])
    return next((one for one in members if one.get("type") == to.get("type")), field)


def _describe_default(field: Json) -> None:
    """Move a request field's default to its description.

    Client generators assume that a field with a default is always present.
    """
    default = field.pop("default", None)
    if default is not None:
        text = f"{field.get('description', '')} Default: `{json.dumps(default)}`."
        field["description"] = text.strip()


def _require_defaults(schema: Json) -> None:
    """Require the fields with defaults, because every answer has these fields."""
    always = {name for name, field in schema["properties"].items() if "default" in field}
    schema["required"] = [
        name for name in schema["properties"] if name in always | {*schema["required"]}
    ]
    for name in always:
        del schema["properties"][name]["default"]


def _descriptions(struct: type) -> dict[str, str]:
    """Return the docstring of each field of a struct, by the field's name in JSON."""
    wire = {field.name: field.encode_name for field in msgspec.structs.fields(struct)}
    found: dict[str, str] = {}
    for owner in reversed(struct.__mro__):
        if not owner.__module__.startswith("geminichat."):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        for part, following in pairwise(tree.body if isinstance(tree, ast.ClassDef) else []):
            match part, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ) if name in wire:
                    found[wire[name]] = " ".join(text.split())
    return found


def _structs_within(types: Iterable[type]) -> list[type[msgspec.Struct]]:
    """Return the structs among these types and in their fields."""
    found: dict[type[msgspec.Struct], None] = {}

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
