"""The API's endpoints: the template's routes, each with the handler that answers it."""

import importlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.template import load, settings


@dataclass(frozen=True)
class Endpoint:
    """One route; `area` and `name` are what its function's folder says it is."""

    method: str
    path: str
    name: str
    handler: Callable[..., Any]

    @property
    def route(self) -> str:
        """Method and path, as API Gateway names it."""
        return f"{self.method} {self.path}"

    @property
    def area(self) -> str:
        """What the function's folder begins with."""
        return self.name.partition("_")[0]


def endpoints() -> list[Endpoint]:
    """Return the endpoints in the template's order."""
    return list(_endpoints(load()))


def _endpoints(template: dict[str, Any]) -> Iterator[Endpoint]:
    _prepare(settings(template))
    for resource in template["Resources"].values():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        for event in resource["Properties"].get("Events", {}).values():
            if event["Type"] == "HttpApi":
                name = resource["Properties"]["CodeUri"].removeprefix("functions/").rstrip("/")
                module = importlib.import_module(f"functions.{name}.app")
                yield Endpoint(
                    method=event["Properties"]["Method"].upper(),
                    path=event["Properties"]["Path"],
                    name=name,
                    handler=module.handler,
                )


def _prepare(variables: dict[str, Any]) -> None:
    """Let handlers be imported: every setting is there, if only by name."""
    for name in variables:
        os.environ.setdefault(name, "")
