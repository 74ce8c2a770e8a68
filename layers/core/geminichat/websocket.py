"""The WebSocket edge: turn API Gateway's events into a Handshake or a Connection, and log them.

Only the route and the ids of an event are logged, because the query of a handshake holds a ticket.
"""

import geminichat.startup  # noqa: F401  # isort: skip (before all other imports)

import functools
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from geminichat import metrics
from geminichat.domain.tickets import Ticket
from geminichat.errors import AppError
from geminichat.runtime import log

type Event = dict[str, Any]


class Handshake(msgspec.Struct, frozen=True):
    """A request for a connection, before its ticket is verified."""

    ticket: str
    origin: str | None
    """The origin of the web page that connects; None if the client is not a browser."""
    now: datetime


class Connection(msgspec.Struct, frozen=True):
    """A connection with a verified ticket."""

    id: str
    user_id: str
    session_id: str
    nonce: str
    now: datetime


def authorizer(verify: Callable[[Handshake], Ticket]) -> Callable[..., Any]:
    """Turn a function that verifies a handshake into the authorizer of $connect.

    API Gateway stores the user, the session and the nonce of the ticket, and passes them with
    every event of the connection.
    """

    @functools.wraps(verify)
    def answer(event: Event, _context: Any = None) -> dict[str, Any]:
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        query: Mapping[str, str] = event.get("queryStringParameters") or {}
        handshake = Handshake(query.get("ticket", ""), headers.get("origin"), _now(event))
        ticket = problem = None
        try:
            ticket = verify(handshake)
        except AppError as error:
            problem = error.code
            metrics.emit(ConnectionsRefused=1)
        except Exception:
            metrics.emit(ConnectionsFailed=1)
            raise
        log.info("handshake", problem=problem, user_id=ticket and ticket.user_id)
        statement = {
            "Action": "execute-api:Invoke",
            "Effect": "Allow" if ticket else "Deny",
            "Resource": event["methodArn"],
        }
        return {
            "principalId": ticket.user_id if ticket else "-",
            "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
            "context": {"sessionId": ticket.session_id, "nonce": ticket.nonce} if ticket else {},
        }

    return answer


def route(handle: Callable[[Connection], None]) -> Callable[..., Any]:
    """Turn a function that handles a connection's event into a route's Lambda handler.

    An error is logged and answered with its status only.
    """

    @functools.wraps(handle)
    def answer(event: Event, _context: Any = None) -> dict[str, Any]:
        began, status, problem = time.perf_counter(), 200, None
        context = event["requestContext"]
        connection = Connection(
            id=context["connectionId"],
            user_id=context["authorizer"]["principalId"],
            session_id=context["authorizer"]["sessionId"],
            nonce=context["authorizer"]["nonce"],
            now=_now(event),
        )
        try:
            handle(connection)
        except AppError as error:
            status, problem = error.status, error.code
        except Exception:
            log.exception("unhandled error", route=context["routeKey"])
            status, problem = 500, AppError.code
        if status >= 500:
            metrics.emit(ConnectionsFailed=1)
        log.info(
            "connection",
            route=context["routeKey"],
            status=status,
            problem=problem,
            milliseconds=round((time.perf_counter() - began) * 1000),
            connection_id=connection.id,
            user_id=connection.user_id,
        )
        return {"statusCode": status}

    return answer


def _now(event: Event) -> datetime:
    return datetime.fromtimestamp(event["requestContext"]["requestTimeEpoch"] / 1000, UTC)
