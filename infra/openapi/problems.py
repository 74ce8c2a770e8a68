"""The responses for an endpoint's errors, from its declarations and the error classes."""

import inspect
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import msgspec

from geminichat import api
from geminichat.errors import PROBLEM_TYPE, AppError, InvalidCredentials, TooManyRequests
from infra.openapi import examples, words
from infra.openapi.answers import LIMITS
from infra.openapi.endpoints import Endpoint

type Json = dict[str, Any]


def responses(endpoint: Endpoint) -> Mapping[int, tuple[str, Json]]:
    """Return the response for each error status, and its name: the joined codes of the errors.

    Raises LookupError if an error has no example.
    """
    ordered = sorted(endpoint.errors, key=lambda error: (error.status, error.code))
    return {
        status: _response(list(errors), endpoint)
        for status, errors in groupby(ordered, key=lambda error: error.status)
    }


def _response(errors: list[type[AppError]], endpoint: Endpoint) -> tuple[str, Json]:
    """Return the name and the content of the response for errors with one status."""
    shown = {
        name: _problem(error)
        for kind in errors
        for name, error in examples.problems(kind, endpoint).items()
    }
    extensions = {name for problem in shown.values() for name in problem} & EXTENSIONS.keys()
    sent = {name for kind in errors for name in _headers_of(kind)}
    return ".".join(kind.code for kind in errors), {
        "description": "\n".join(f"- `{kind.code}`: {_meaning(kind)}" for kind in errors),
        "headers": words.headers(
            {"x-request-id"} | sent | (set() if endpoint.is_public else {"Cache-Control"})
        ),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {
                            "type": "object",
                            "required": ["type", "status"],
                            "properties": {
                                "type": {
                                    "type": "string",
                                    "enum": [PROBLEM_TYPE + kind.code for kind in errors],
                                },
                                "status": {"type": "integer", "enum": [errors[0].status]},
                                **{name: EXTENSIONS[name] for name in sorted(extensions)},
                            },
                        },
                    ]
                },
                "examples": {name: {"value": problem} for name, problem in shown.items()},
            }
        },
    }


def _meaning(error: type[AppError]) -> str:
    return " ".join((inspect.getdoc(error) or "").split("\n\n")[0].split())


def _headers_of(error: type[AppError]) -> Iterable[str]:
    limits = LIMITS if issubclass(error, TooManyRequests | InvalidCredentials) else ()
    return {*error("").headers, *limits}


def _problem(error: AppError) -> Json:
    """Return the body of the error's answer."""
    shown: Json = msgspec.json.decode(api.problem_answer(error, examples.REQUEST_ID)["body"])
    return shown


EXTENSIONS: dict[str, Json] = {
    "resetsAt": {
        "type": "string",
        "format": "date-time",
        "description": "The time at which the limit resets; daily quotas reset at midnight UTC.",
    },
}
"""Fields that some errors have in addition to the fields of RFC 9457."""

SCHEMAS: dict[str, Json] = {
    "FieldProblem": {
        "type": "object",
        "description": "One problem in a body.",
        "required": ["pointer", "detail"],
        "properties": {
            "pointer": {
                "type": "string",
                "format": "json-pointer",
                "description": "The place of the problem in the body (a JSON Pointer, RFC 6901).",
            },
            "detail": {"type": "string", "description": "One sentence about the problem."},
        },
    },
    "Problem": {
        "type": "object",
        "description": "An error (RFC 9457), with the extensions `success` and `message`.",
        "required": ["type", "title", "status", "detail", "instance", "success", "message"],
        "properties": {
            "type": {
                "type": "string",
                "format": "uri",
                "description": "A stable URI that ends in the error's code.",
            },
            "title": {"type": "string", "description": "The status in words."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": {"type": "string", "description": "One sentence for a person."},
            "instance": {"type": "string", "description": "The request's id."},
            "success": {"const": False},
            "message": {"type": "string", "description": "The same as `detail`."},
            "errors": {
                "type": "array",
                "description": "The problems in an invalid body.",
                "items": {"$ref": "#/components/schemas/FieldProblem"},
            },
        },
    },
}
