"""The API's endpoints: the template's routes, and what each handler declares."""

import importlib
import inspect
import json
import os
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

from geminichat.errors import (
    AccountSuspended,
    AppError,
    BodyTooLarge,
    Contended,
    InvalidRequest,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from infra.template import load, settings

DOCSTRING = re.compile(r'""".*?"""', re.DOTALL)
BODY = re.compile(r"request\.body\(\s*(?P<struct>\w+)(?P<optional>,\s*optional=True)?,?\s*\)")
"""The pattern of a handler's call that reads its body."""
MESSAGE = re.compile(r'"([A-Z][^"\n]*\.)"')
"""The pattern of a message text in a handler's code."""


@dataclass(frozen=True)
class Endpoint:
    """One route; `name` is its function's folder."""

    method: str
    path: str
    name: str
    module: ModuleType
    policies: str
    """Its role's statements, as JSON."""

    @property
    def route(self) -> str:
        """Method and path, as API Gateway names them."""
        return f"{self.method} {self.path}"

    @property
    def area(self) -> str:
        """The first part of its function's folder."""
        return self.name.partition("_")[0]

    @property
    def handler(self) -> Callable[..., Any]:
        """The Lambda handler that `@endpoint` made."""
        handler: Callable[..., Any] = self.module.handler
        return handler

    @property
    def is_public(self) -> bool:
        """Whether it answers without an access token."""
        return bool(vars(self.handler)["public"])

    @property
    def has_optional_caller(self) -> bool:
        """Whether it is public, and takes an access token into account."""
        return "request.optional_caller()" in self._code

    @cached_property
    def body(self) -> tuple[type, bool] | None:
        """The struct that the handler takes from the body, and whether the body may be missing."""
        found = BODY.search(self._code)
        if not found and "request.body(" in self._code:
            raise LookupError(f"functions/{self.name}/app.py: write request.body(TheStruct)")
        return (vars(self.module)[found["struct"]], bool(found["optional"])) if found else None

    @property
    def data(self) -> type | None:
        """The struct in a success's `data`, from the handler's annotation; None for none."""
        hints = typing.get_type_hints(inspect.unwrap(self.handler))
        return next(iter(typing.get_args(hints["return"])), None)

    @property
    def message(self) -> str:
        """The first message text in the handler's code, for the document's examples."""
        found = MESSAGE.search(self._code)
        return found[1] if found else "Done."

    @property
    def declared(self) -> tuple[type[AppError], ...]:
        """The errors that the handler declares next to `@endpoint`."""
        errors: tuple[type[AppError], ...] = vars(self.handler)["errors"]
        return errors

    @property
    def errors(self) -> set[type[AppError]]:
        """Every error that it can answer: the declared ones, and those of all similar endpoints."""
        implied: set[type[AppError]] = {AppError}
        if not self.is_public:
            implied |= {AccountSuspended, Unauthorized}
            if self.method == "GET":
                implied.add(TooManyRequests)
        if self.body:
            implied |= {InvalidRequest, BodyTooLarge, UnsupportedMedia}
        if "dynamodb:" in self.policies:
            implied.add(Unavailable)
        if any(f"dynamodb:{write}Item" in self.policies for write in ("Put", "Update", "Delete")):
            implied.add(Contended)
        return implied.union(self.declared)

    @cached_property
    def _code(self) -> str:
        _, _, code = inspect.getsource(self.module).partition("\n@endpoint")
        return DOCSTRING.sub("", code)


def endpoints() -> list[Endpoint]:
    """Return the endpoints in the template's order."""
    return list(_endpoints(load()))


def _endpoints(template: dict[str, Any]) -> Iterator[Endpoint]:
    for name in settings(template):
        os.environ.setdefault(name, "")
    for resource in template["Resources"].values():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        properties = resource["Properties"]
        for event in properties.get("Events", {}).values():
            # HEAD answers as GET does, without the body, and is not described on its own.
            if event["Type"] == "HttpApi" and event["Properties"]["Method"].upper() != "HEAD":
                name = properties["CodeUri"].removeprefix("functions/").rstrip("/")
                yield Endpoint(
                    method=event["Properties"]["Method"].upper(),
                    path=event["Properties"]["Path"],
                    name=name,
                    module=importlib.import_module(f"functions.{name}.app"),
                    policies=json.dumps(properties.get("Policies", [])),
                )
