"""The API's endpoints: the template's routes and the handlers' declarations."""

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
"""The pattern of a handler's call that reads the request's body."""
MESSAGE = re.compile(r'"([A-Z][^"\n]*\.)"')
"""The pattern of a message text in a handler's code."""


@dataclass(frozen=True)
class Endpoint:
    """One route of the API; `name` is the name of its function's folder."""

    method: str
    path: str
    name: str
    module: ModuleType
    policies: str
    """The policies of the function's role, as JSON."""

    @property
    def route(self) -> str:
        """The method and the path, in API Gateway's notation."""
        return f"{self.method} {self.path}"

    @property
    def area(self) -> str:
        """The first part of the name of the function's folder."""
        return self.name.partition("_")[0]

    @property
    def handler(self) -> Callable[..., Any]:
        """The function's Lambda handler, which `@endpoint` has wrapped."""
        handler: Callable[..., Any] = self.module.handler
        return handler

    @property
    def is_public(self) -> bool:
        """Whether the endpoint answers requests without an access token."""
        return bool(vars(self.handler)["public"])

    @property
    def has_optional_caller(self) -> bool:
        """Whether the endpoint is public, but uses an access token if a request has one."""
        return "request.optional_caller()" in self._code

    @cached_property
    def body(self) -> tuple[type, bool] | None:
        """The struct of the request's body, and whether the body is optional; or None."""
        found = BODY.search(self._code)
        if not found and "request.body(" in self._code:
            raise LookupError(f"functions/{self.name}/app.py: write request.body(TheStruct)")
        return (vars(self.module)[found["struct"]], bool(found["optional"])) if found else None

    @property
    def data(self) -> type | None:
        """The struct in the `data` of a success, from the handler's annotation, or None."""
        hints = typing.get_type_hints(inspect.unwrap(self.handler))
        return next(iter(typing.get_args(hints["return"])), None)

    @property
    def message(self) -> str:
        """The first message text in the handler's code, used in the document's examples."""
        found = MESSAGE.search(self._code)
        return found[1] if found else "Done."

    @property
    def declared(self) -> tuple[type[AppError], ...]:
        """The errors that the handler declares in `@endpoint(errors=[…])`."""
        errors: tuple[type[AppError], ...] = vars(self.handler)["errors"]
        return errors

    @property
    def errors(self) -> set[type[AppError]]:
        """The declared errors, and the errors that the method, the body and the tables imply."""
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
            # HEAD routes answer like GET routes, but without a body, and are not described.
            if event["Type"] == "HttpApi" and event["Properties"]["Method"].upper() != "HEAD":
                name = properties["CodeUri"].removeprefix("functions/").rstrip("/")
                yield Endpoint(
                    method=event["Properties"]["Method"].upper(),
                    path=event["Properties"]["Path"],
                    name=name,
                    module=importlib.import_module(f"functions.{name}.app"),
                    policies=json.dumps(properties.get("Policies", [])),
                )
