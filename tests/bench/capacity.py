"""The resources that a request uses: network calls, the longest chain of calls, bytes, and units.

Units follow DynamoDB's published rules. A write takes one unit per KB, and a read takes one unit
per 4 KB, both rounded up. An eventually consistent read takes half as many units, and a write in a
transaction takes twice as many. An index takes one more unit if it gains or loses the item, and two
more if the item's key in the index changes. A transaction does not double the units of an index.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.standins import Call, depth, marshal
from tests.bench.subjects import Settings
from tests.support.template import TABLES

type Wire = Mapping[str, Any]

BUDGET = {
    "AuthMe": 1,
    "UserMe": 1,
    "SubscriptionStatus": 1,
    "ChatroomGetMessage": 1,
    "ChatroomGet": 2,
    "ChatroomListMessages": 2,
    "ChatroomList": 4,  # a miss: the session, Redis, the rooms, and Redis again
    "ChatroomSendMessage": 4,
    "GeminiWorker": 7,
    "WebhookStripe": 4,
}
"""The maximum network calls of a warm request, for the functions that ARCHITECTURE.md lists."""


@dataclass(frozen=True)
class Demand:
    """The resources that one request uses."""

    calls: int
    depth: int
    bytes_out: int
    bytes_in: int
    reads: float
    writes: float
    services: Mapping[str, int]


def demand(calls: Sequence[Call], settings: Settings) -> Demand:
    """Return the resources that a request with these calls uses."""
    services: dict[str, int] = {}
    for call in calls:
        services[call.service] = services.get(call.service, 0) + 1
    units = [_units(call, settings) for call in calls if call.service == "dynamodb"]
    return Demand(
        len(calls),
        depth(calls),
        sum(call.bytes_out for call in calls),
        sum(call.bytes_in for call in calls),
        sum(read for read, _ in units),
        sum(write for _, write in units),
        services,
    )


def size(item: Wire) -> int:
    """Return an item's size in bytes, as DynamoDB counts it."""
    return sum(len(name.encode()) + _value(value) for name, value in item.items())


def _value(value: Wire) -> int:
    kind, held = next(iter(value.items()))
    match kind:
        case "S" | "B":
            return len(str(held).encode())
        case "N":
            return math.ceil(len(str(held).lstrip("-").strip("0.")) / 2) + 1
        case "L":
            return 3 + sum(1 + _value(one) for one in held)
        case "M":
            return 3 + size(held) + len(held)
    return 1


def _read_units(items: Sequence[Wire], *, consistent: bool) -> float:
    whole = max(1, math.ceil(sum(map(size, items)) / 4096))
    return whole if consistent else whole / 2


def _units(call: Call, settings: Settings) -> tuple[float, float]:
    request, reply = call.request, call.reply
    match call.operation:
        case "GetItem":
            found = [reply["Item"]] if "Item" in reply else []
            return _read_units(found, consistent=request.get("ConsistentRead", False)), 0
        case "BatchGetItem":
            return _batch_units(request, reply), 0
        case "Query" | "Scan":
            # a projection saves bytes, not units: rows are counted in full
            rows = [_item_of(settings, request["TableName"]) | row for row in reply["Items"]]
            return _read_units(rows, consistent=request.get("ConsistentRead", False)), 0
        case "TransactWriteItems":
            return 0, sum(
                _write_units(kind, action, settings, doubled=True)
                for one in request["TransactItems"]
                for kind, action in one.items()
            )
        case "BatchWriteItem":
            return 0, sum(len(writes) for writes in request["RequestItems"].values())
        case "PutItem" | "UpdateItem" | "DeleteItem":
            kind = call.operation.removesuffix("Item")
            return 0, _write_units(kind, request, settings, doubled=False)
    return 0, 0


def _batch_units(request: Wire, reply: Wire) -> float:
    units = 0.0
    for table, asked in request["RequestItems"].items():
        consistent = asked.get("ConsistentRead", False)
        found = reply["Responses"].get(table, [])
        units += sum(_read_units([item], consistent=consistent) for item in found)
        units += (len(asked["Keys"]) - len(found)) * (1 if consistent else 0.5)
    return units


def _item_of(settings: Settings, table: str) -> dict[str, Any]:
    name = table.rpartition("/")[2]
    for logical, item in settings.samples.items():
        if settings.values.refs[logical] == name:
            return marshal(item)
    return {}


def _write_units(kind: str, action: Wire, settings: Settings, *, doubled: bool) -> float:
    item = action["Item"] if kind == "Put" else _item_of(settings, action["TableName"])
    base = max(1, math.ceil(size(item) / 1024)) * (2 if doubled else 1)
    if kind == "ConditionCheck":
        return base
    return base + sum(_index_writes(kind, action, item, keys) for keys in _indexes(action))


def _indexes(action: Wire) -> list[set[str]]:
    properties = TABLES[action["TableName"].rpartition("/")[2]]
    indexes = [
        *properties.get("GlobalSecondaryIndexes", []),
        *properties.get("LocalSecondaryIndexes", []),
    ]
    table_keys = {key["AttributeName"] for key in properties["KeySchema"]}
    return [{key["AttributeName"] for key in one["KeySchema"]} - table_keys for one in indexes]


def _index_writes(kind: str, action: Wire, item: Wire, keys: set[str]) -> int:
    if kind in ("Put", "Delete"):
        return 1 if keys <= set(item) else 0
    names = action.get("ExpressionAttributeNames", {})
    expression = action.get("UpdateExpression", "")
    removed = _names_in(expression, "REMOVE", names)
    changed = _names_in(expression, "SET", names) | _names_in(expression, "ADD", names)
    if keys & removed:
        return 1
    if keys & changed:
        return 2 if keys <= set(item) else 1
    return 0


def _names_in(expression: str, clause: str, names: Mapping[str, str]) -> set[str]:
    """Return the attributes that a clause of an update changes."""
    found: set[str] = set()
    current = ""
    for word in expression.replace(",", " ").split():
        if word in ("SET", "ADD", "REMOVE", "DELETE"):
            current = word
        elif current == clause and word in names:
            found.add(names[word])
    return found
