"""Read template.yaml; short intrinsics (`!Ref x`) get their long form (`{"Ref": x}`)."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]

FUNCTION = "AWS::Serverless::Function"


class _Loader(yaml.SafeLoader):
    pass


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    match node:
        case yaml.ScalarNode():
            value = loader.construct_scalar(node)
        case yaml.SequenceNode():
            value = loader.construct_sequence(node, deep=True)
        case yaml.MappingNode():
            value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def load(path: Path = ROOT / "template.yaml") -> dict[str, Any]:
    """Return a template as a dictionary."""
    template: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506 # nosec B506 - a SafeLoader
    return template


def settings(template: dict[str, Any]) -> dict[str, Any]:
    """Return all environment variables of Globals and of the functions, by variable name."""
    resources = template["Resources"].values()
    functions = [one["Properties"] for one in resources if one["Type"] == FUNCTION]
    declared: dict[str, Any] = {}
    for properties in [template["Globals"]["Function"], *functions]:
        declared |= properties.get("Environment", {}).get("Variables", {})
    return declared


def routes_of(function: dict[str, Any]) -> list[str]:
    """Return the routes in a function's properties, such as "GET /chatroom/{id}"."""
    events = [event for event in function.get("Events", {}).values() if event["Type"] == "HttpApi"]
    given = [event["Properties"] for event in events]
    return [f"{event['Method'].upper()} {event['Path']}" for event in given]
