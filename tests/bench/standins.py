"""Stand-ins that answer every call with a fixed, valid reply, and record the call.

They store nothing, because only our own cost is measured: every read returns the table's sample
item, with the requested key. They answer at once or after a `pause`. The pause shows which calls
run in parallel.
"""

import base64
import json
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

type Item = Mapping[str, Any]

EXPORTS = "ExportsBucket"
"""The bucket of exports, as subjects.py names it."""
SECRETS_HELD = "stand-in-secret"

REPLY = "A queue holds work until someone is free to do it, in the order in which it came. " * 6
"""A reply of the usual length: 500 characters."""


@dataclass(frozen=True)
class Call:
    """One network call as it was seen on the wire; times are of the monotonic clock."""

    service: str
    operation: str
    request: Any
    reply: Any
    bytes_out: int
    bytes_in: int
    began: float
    ended: float


@dataclass
class World:
    """The content of the stand-ins' answers."""

    tables: Mapping[str, Item]
    """The sample item of each table, by the table's name."""
    secrets: Mapping[str, str]
    """SSM parameters by name."""
    rows: int = 20
    """The number of items that a query without a smaller limit finds."""
    pause: float = 0.0
    pauses: Mapping[str, float] = field(default_factory=dict)
    """Seconds per call by service; `pause` is for the other services."""
    missing: frozenset[str] = frozenset()
    """Tables in which nothing is found."""
    redis: list[Any] = field(default_factory=list)
    """Redis's results, repeated in this order; every result is 1 if the list is empty."""
    asked: int = 0
    reply: str = REPLY
    """The model's reply."""
    chunks: int = 1
    """The number of events in which the reply is sent."""
    between: float = 0.0
    """Seconds from one event to the next."""
    stripe: Mapping[str, Any] = field(default_factory=dict)
    """Stripe's answers by "METHOD /path"; the longest matching beginning counts."""
    calls: list[Call] = field(default_factory=list)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> "Answer":
        """Return the answer to one request."""
        target = headers.get("x-amz-target", "")
        if target:
            service, _, operation = target.partition(".")
            request = json.loads(body or b"{}")
            reply = _AWS[service.partition("_")[0]](self, operation, request)
            kind = "application/x-amz-json-1.0"
            return Answer(_NAMES[service.partition("_")[0]], operation, request, reply, kind)
        if path.startswith(f"/{EXPORTS}/"):
            return Answer("s3", method, {}, "<UploadId>1</UploadId>", "application/xml")
        if path.startswith("/v1beta/models?"):
            return Answer("gemini", "models", {}, _GEMINI_MODELS)
        if path.partition("?")[0].endswith(":generateContent"):
            return Answer("gemini", "generateContent", json.loads(body), _gemini_answer("A title"))
        if path.startswith("/v1beta/models/"):
            first, *more = _gemini_events(self.reply, self.chunks)
            asked = json.loads(body)
            kind = "text/event-stream"
            return Answer("gemini", "streamGenerateContent", asked, first, kind, more)
        if "/%40connections/" in path:
            return Answer("connections", "PostToConnection", json.loads(body), "", "text/plain")
        if path.startswith("/v2/email/"):
            return Answer("ses", "SendEmail", json.loads(body), {"MessageId": "m-1"})
        if path.startswith("/v1/"):
            sent = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            return Answer("stripe", f"{method} {path}", sent, self._stripe(method, path))
        if body.startswith(b"Action="):
            sent = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            if sent["Action"] == "GetCallerIdentity":
                return Answer("sts", sent["Action"], sent, _STS, "text/xml")
            reply = _SNS.format(sent["Action"])
            return Answer("sns", sent["Action"], sent, reply, "text/xml")
        result = self.redis[self.asked % len(self.redis)] if self.redis else 1
        self.asked += 1
        if headers.get("upstash-encoding") == "base64":
            result = _in_base64(result)
        return Answer("redis", path.strip("/") or "command", json.loads(body), {"result": result})

    def _stripe(self, method: str, path: str) -> Any:
        asked = f"{method} {path.partition('?')[0]}"
        fits = [known for known in self.stripe if asked.startswith(known)]
        return self.stripe[max(fits, key=len)] if fits else {"id": "obj_1", "object": "unknown"}


@dataclass(frozen=True)
class Answer:
    """A request and the stand-in's answer."""

    service: str
    operation: str
    request: Any
    reply: Any
    kind: str = "application/json"
    more: Sequence[str] = ()
    """The parts that follow, each after a pause."""

    def body(self) -> bytes:
        """Return the first part of the body as bytes."""
        if isinstance(self.reply, str):
            return self.reply.encode()
        return json.dumps(self.reply, separators=(",", ":")).encode()

    def head(self, body: bytes) -> bytes:
        """Return the status line and the headers."""
        lines = [
            "HTTP/1.1 200 OK",
            f"content-type: {self.kind}",
            "transfer-encoding: chunked" if self.more else f"content-length: {len(body)}",
            "x-amzn-requestid: stand-in",
        ]
        if self.service == "s3":
            lines.append('etag: "1"')
        if self.service == "dynamodb":
            lines.append(f"x-amz-crc32: {zlib.crc32(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def marshal(item: Item) -> dict[str, Any]:
    """Return an item in DynamoDB's JSON."""
    return {name: _value(value) for name, value in item.items() if value is not None}


def _in_base64(result: Any) -> Any:
    if isinstance(result, list):
        return [_in_base64(one) for one in result]
    if isinstance(result, str) and result != "OK":
        return base64.b64encode(result.encode()).decode()
    return result


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": str(value)}
        case list():
            return {"L": [_value(one) for one in value]}
        case dict():
            return {"M": marshal(value)}
    return {"S": str(value)}


def _found(world: World, table: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
    name = table.rpartition("/")[2]
    if name in world.missing:
        return None
    return marshal(world.tables[name]) | dict(key)


def _dynamodb(world: World, operation: str, request: Any) -> Any:
    match operation:
        case "GetItem":
            found = _found(world, request["TableName"], request["Key"])
            return {"Item": found} if found else {}
        case "BatchGetItem":
            answers = {
                table: [
                    item for key in asked["Keys"] if (item := _found(world, table, key)) is not None
                ]
                for table, asked in request["RequestItems"].items()
            }
            return {"Responses": answers, "UnprocessedKeys": {}}
        case "Query" | "Scan":
            items = _rows(world, request)
            return {"Items": items, "Count": len(items), "ScannedCount": len(items)}
        case "UpdateItem":
            found = _found(world, request["TableName"], request["Key"]) or dict(request["Key"])
            has_answer = request.get("ReturnValues", "NONE") != "NONE"
            return {"Attributes": found} if has_answer else {}
        case "BatchWriteItem":
            return {"UnprocessedItems": {}}
        case "TransactGetItems":
            gets = [one["Get"] for one in request["TransactItems"]]
            found_all = [_found(world, get["TableName"], get["Key"]) for get in gets]
            return {"Responses": [{"Item": item} if item else {} for item in found_all]}
    return {}


def _rows(world: World, request: Any) -> list[dict[str, Any]]:
    """Return the items that a query finds; messages are prompts and replies in turn."""
    name = request["TableName"].rpartition("/")[2]
    if name in world.missing or request.get("IndexName") == "unfinished":
        return []
    sample = world.tables[name]
    count = min(world.rows, request.get("Limit", world.rows))
    names = request.get("ExpressionAttributeNames", {})
    named = [names.get(one.strip(), one.strip()) for one in _projection(request)]
    rows = []
    for place in range(1, count + 1):
        row = dict(sample)
        if "seq" in row:
            row |= {"seq": place, "status": "answered"}
            if place % 2 == 0:
                row |= {"sender": "ai", "status": None}
                row |= {"input_tokens": 300, "output_tokens": 200}
        shown = {name: row[name] for name in named if name in row} if named else row
        rows.append(marshal(shown))
    return rows if request.get("ScanIndexForward", True) else rows[::-1]


def _projection(request: Any) -> list[str]:
    text = request.get("ProjectionExpression", "")
    return text.split(",") if text else []


def _ssm(world: World, _operation: str, request: Any) -> Any:
    value = world.secrets.get(request["Name"], SECRETS_HELD)
    return {"Parameter": {"Name": request["Name"], "Type": "SecureString", "Value": value}}


def _sqs(_world: World, operation: str, request: Any) -> Any:
    if operation == "ReceiveMessage":
        return {}
    if operation == "GetQueueAttributes":
        return {"Attributes": dict.fromkeys(request.get("AttributeNames", []), "0")}
    return {"MessageId": "00000000-0000-0000-0000-000000000000", "SequenceNumber": "1"}


_AWS = {"DynamoDB": _dynamodb, "AmazonSSM": _ssm, "AmazonSQS": _sqs}
_NAMES = {"DynamoDB": "dynamodb", "AmazonSSM": "ssm", "AmazonSQS": "sqs"}
_SNS = (
    "<{0}Response><{0}Result><MessageId>m-1</MessageId></{0}Result>"
    "<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></{0}Response>"
)

_STS = (
    "<GetCallerIdentityResponse><GetCallerIdentityResult>"
    "<Arn>arn:aws:iam::000000000000:user/support</Arn>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)


_GEMINI_MODELS = {
    "models": [
        {
            "name": f"models/{name}",
            "supportedGenerationMethods": ["generateContent"],
        }
        for name in (
            "gemini-3.5-flash-lite",
            "gemini-3.6-flash",
            "gemini-3.7-flash",
            "gemini-3.8-flash",
        )
    ]
}


def _gemini_events(text: str, count: int) -> list[str]:
    """Return the events of a streamed reply, its text divided into equal pieces."""
    size = math.ceil(len(text) / count)
    answers = [_gemini_answer(text[at : at + size]) for at in range(0, len(text), size)]
    for answer in answers[:-1]:
        del answer["candidates"][0]["finishReason"]
    return [f"data: {json.dumps(answer)}\r\n\r\n" for answer in answers]


def _gemini_answer(text: str) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 300, "candidatesTokenCount": 200, "totalTokenCount": 500}
    return {"candidates": [candidate | {"index": 0}], "usageMetadata": usage}


def record(answer: Answer, bytes_out: int, body: bytes, began: float) -> Call:
    """Return the record of a call that ends now."""
    return Call(
        answer.service,
        answer.operation,
        answer.request,
        answer.reply,
        bytes_out,
        len(body),
        began,
        time.monotonic(),
    )


def depth(calls: Sequence[Call]) -> int:
    """Return the length of the longest chain of calls, each begun after the previous one ended."""
    chain: list[tuple[float, int]] = []
    for call in sorted(calls, key=lambda call: call.began):
        before = max((length for ended, length in chain if ended <= call.began), default=0)
        chain.append((call.ended, before + 1))
    return max((length for _, length in chain), default=0)
