"""The template for tests: resources by type, routes, policy statements, resolved values."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra import template

type Properties = dict[str, Any]

TEMPLATE = template.load()
RESOURCES: Mapping[str, Any] = TEMPLATE["Resources"]


def of_type(kind: str) -> dict[str, Properties]:
    """Return the properties of every resource of a type, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in RESOURCES.items()
        if resource["Type"] == kind
    }


FUNCTIONS = of_type("AWS::Serverless::Function")
TABLES = of_type("AWS::DynamoDB::Table")
QUEUES = of_type("AWS::SQS::Queue")
BUCKETS = of_type("AWS::S3::Bucket")
PROMPT_QUEUES = ("PromptsQueue", "ProPromptsQueue")


def folder_of(function: str) -> str:
    """Return the folder under functions/ that a function is deployed from."""
    return str(FUNCTIONS[function]["CodeUri"]).removeprefix("functions/").rstrip("/")


def events_of(function: str, kind: str) -> list[Properties]:
    """Return the properties of a function's events that have this type."""
    events = FUNCTIONS[function].get("Events", {}).values()
    return [event["Properties"] for event in events if event["Type"] == kind]


def mappings_of(function: str) -> list[Properties]:
    """Return the properties of the event source mappings that invoke a function."""
    alias = {"Ref": f"{function}.Alias"}
    mappings = of_type("AWS::Lambda::EventSourceMapping").values()
    return [mapping for mapping in mappings if mapping["FunctionName"] == alias]


def queue_of(mapping: Properties) -> str:
    """Return the logical id of the queue that an event source mapping reads."""
    return str(mapping["EventSourceArn"]["Fn::GetAtt"][0])


def routes_of(function: str) -> list[str]:
    """Return a function's routes, such as "GET /chatroom/{id}", except HEAD routes."""
    routes = template.routes_of(FUNCTIONS[function])
    return [route for route in routes if not route.startswith("HEAD ")]


def socket_routes_of(function: str) -> list[str]:
    """Return a function's WebSocket routes, and "authorizer" if it is the authorizer."""
    alias = {"Ref": f"{function}.Alias"}
    [api] = of_type("AWS::Serverless::WebSocketApi").values()
    routes = [name for name, route in api["Routes"].items() if route["FunctionArn"] == alias]
    return routes + ["authorizer"] * (api["Auth"]["AuthArn"] == alias)


def head_routes() -> dict[str, str]:
    """Return the function behind each path that answers HEAD."""
    return {
        event["Path"]: function
        for function in FUNCTIONS
        for event in events_of(function, "HttpApi")
        if event["Method"].upper() == "HEAD"
    }


def statements_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every policy statement in a part of the template."""
    if isinstance(value, dict):
        if "Effect" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from statements_in(item)


def as_list(value: Any) -> list[Any]:
    """Return a list unchanged, and another value as a list of one; CloudFormation accepts both."""
    return value if isinstance(value, list) else [value]


@dataclass(frozen=True)
class Values:
    """Values for references: `refs` by name, `attributes` by "Resource.Attribute"."""

    refs: Mapping[str, Any]
    attributes: Mapping[str, str]

    def resolve(self, value: Any) -> Any:
        """Return the value with intrinsics resolved. Raises KeyError for an unknown reference."""
        match value:
            case {"Ref": name}:
                return self.refs[name]
            case {"Fn::GetAtt": [resource, attribute]}:
                return self.attributes[f"{resource}.{attribute}"]
            case {"Fn::Sub": str(text)}:
                return re.sub(r"\$\{([^}]*)\}", lambda name: self._name_of(name[1]), text)
            case {"Fn::Sub": [str(text), dict(names)]}:
                local = Values({**self.refs, **self.resolve(names)}, self.attributes)
                return local.resolve({"Fn::Sub": text})
            case {"Fn::Select": [index, items]}:
                return self.resolve(items)[int(index)]
            case {"Fn::Split": [separator, text]}:
                return self.resolve(text).split(separator)
            case {"Fn::Join": [separator, items]}:
                resolved = self.resolve(items)
                return separator.join(resolved) if isinstance(resolved, list) else str(resolved)
            case {"Fn::If": [condition, then, otherwise]}:
                holds = self.resolve(TEMPLATE["Conditions"][condition])
                return self.resolve(then if holds else otherwise)
            case {"Condition": str(name)}:
                return self.resolve(TEMPLATE["Conditions"][name])
            case {"Fn::Equals": [one, other]}:
                return self.resolve(one) == self.resolve(other)
            case {"Fn::Or": conditions}:
                return any(self.resolve(condition) for condition in conditions)
            case {"Fn::And": conditions}:
                return all(self.resolve(condition) for condition in conditions)
            case {"Fn::Contains": [items, item]}:
                return self.resolve(item) in self.resolve(items)
            case {"Fn::Not": [condition]}:
                return not self.resolve(condition)
            case dict():
                return {key: self.resolve(item) for key, item in value.items()}
            case list():
                return [self.resolve(item) for item in value]
        return value

    def _name_of(self, name: str) -> str:
        return str(self.attributes[name] if "." in name else self.refs[name])
