"""API Gateway's WebSocket API in the test's process: handshakes, messages, and posts to clients."""

import asyncio
import random
import secrets
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from geminichat.domain import live
from infra.local.cloud.http_events import Event
from tests.support import reader_rule
from tests.support.lambdas import invoke
from tests.support.template import of_type

METHOD_ARN = "arn:aws:execute-api:us-east-1:000000000000:live-api/live/$connect"


def handlers() -> dict[str, str]:
    """Return the function of each WebSocket route, and of the authorizer."""
    [api] = of_type("AWS::Serverless::WebSocketApi").values()
    targets = {name: route["FunctionArn"] for name, route in api["Routes"].items()}
    targets["authorizer"] = api["Auth"]["AuthArn"]
    return {name: arn["Ref"].removesuffix(".Alias") for name, arn in targets.items()}


HANDLERS = handlers()


class Socket:
    """A client's connection; `status` is the handshake's HTTP status, 200 if it was accepted."""

    def __init__(self, url: str, origin: str | None = None, at: datetime | None = None) -> None:
        """Shake hands as API Gateway does: the authorizer first, then $connect."""
        self.id = secrets.token_urlsafe(10) + "="
        self._authorizer: dict[str, str] = {}
        query = {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
        handshake: Event = {
            "headers": {"Host": "live.example"} | ({"Origin": origin} if origin else {}),
            "queryStringParameters": query or None,
        }
        if "ticket" not in query:
            self.status = 401
            return
        context = {"requestContext": self._context("$connect", at)}
        asked = {"type": "REQUEST", "methodArn": METHOD_ARN, **handshake, **context}
        answer = invoke(HANDLERS["authorizer"], asked)
        [statement] = answer["policyDocument"]["Statement"]
        assert statement["Resource"] == METHOD_ARN
        if statement["Effect"] != "Allow":
            self.status = 403
            return
        self._authorizer = {"principalId": answer["principalId"], **answer["context"]}
        self.status = self.send("$connect", at, **handshake)

    def send(self, route: str, at: datetime | None = None, **more: Any) -> int:
        """Invoke the function of a route, and return the status of its answer."""
        event = {"requestContext": self._context(route, at), "isBase64Encoded": False, **more}
        return int(invoke(HANDLERS[route], event)["statusCode"])

    def _context(self, route: str, at: datetime | None) -> dict[str, Any]:
        moment = at or datetime.now(UTC)
        return {
            "routeKey": route,
            "eventType": {"$connect": "CONNECT", "$disconnect": "DISCONNECT"}.get(route, "MESSAGE"),
            "connectionId": self.id,
            "requestId": secrets.token_urlsafe(8),
            "requestTimeEpoch": round(moment.timestamp() * 1000),
            "stage": "live",
            "identity": {"sourceIp": "203.0.113.7"},
            **({"authorizer": self._authorizer} if self._authorizer else {}),
        }


NEVER = 504


class Connections:
    """A stand-in for the @connections API, which records the posts and the closed connections."""

    def __init__(self) -> None:
        """Begin without posts."""
        self.posted: list[tuple[str, str]] = []
        self.times: list[float] = []
        """The time of each post, refused ones included, by the monotonic clock."""
        self.status = 200
        """The answer to posts."""
        self.delay = 0.0
        """Seconds before a post is answered."""
        self.refused = 0.0
        """The share of posts that are answered 410, 429, 500 or never, at random."""
        self.closed: list[str] = []

    def create_app(self) -> web.Application:
        """Return the web application that answers the posts of functions."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}/{connection}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        connection_id = request.match_info["connection"]
        if connection_id in self.closed:
            return web.json_response({"message": "Gone"}, status=410)
        if request.method == "DELETE":
            self.closed.append(connection_id)
            return web.Response(status=204)
        self.times.append(time.monotonic())
        body = (await request.read()).decode()
        await asyncio.sleep(self.delay)
        status = self.status
        if random.random() < self.refused:
            status = random.choice([410, 429, 500, NEVER])
        if status == 200:
            self.posted.append((connection_id, body))
        if status == NEVER:
            await asyncio.sleep(5)
        return web.Response(status=status)

    def frames(self, connection_id: str) -> list[live.PromptFrame]:
        """Return a connection's posted frames about prompts, in order."""
        found = [reader_rule.decode(body) for one, body in self.posted if one == connection_id]
        return [frame for frame in found if frame and not isinstance(frame, live.RoomFrame)]
