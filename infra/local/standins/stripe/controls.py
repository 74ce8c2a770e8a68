"""The test controls: routes that Stripe does not have.

GET    /_clock                       the time; POST {"advance": seconds} moves the clock ahead
PATCH  /_endpoint                    {"url", "secrets", "held", "types", "apiVersion"}
GET    /_events                      all events, with the status of each delivery's answer
GET    /_events/{id}/signed          an event's body and its signature at this moment
GET    /_holds                       the names of the answers that are held
DELETE /_holds/{name}                send this answer
DELETE /_customers/{id}              remove a customer completely
POST   /_subscriptions/{id}/{move}   change a subscription, see MOVES; answers the events' ids
POST   /_sessions/{id}/{action}      act as the customer: pay, pay-once, debit or decline
                                     end a debit: debit-paid or debit-failed
PATCH  /_ledger                      {"givesUp": the status after the last failed payment}
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from infra.local.standins.stripe.browser import check_out
from infra.local.standins.stripe.events import EventLog
from infra.local.standins.stripe.ledger import Ledger
from infra.local.standins.stripe.protocol import Json, Rejected

MOVES: Mapping[str, Callable[[Ledger, Json], Any]] = {
    "cancel-at-period-end": Ledger.cancel_at_period_end,
    "keep": Ledger.keep,
    "cancel": Ledger.cancel,
    "end-period": Ledger.end_period,
    "fail-payment": Ledger.fail_payment,
    "pay-up": Ledger.pay_up,
    "give-up": Ledger.give_up,
    "pause": Ledger.pause,
    "resume": Ledger.resume,
    "pause-collection": Ledger.pause_collection,
    "resume-collection": Ledger.resume_collection,
}

ENDPOINT_FIELDS: Mapping[str, str] = {
    "url": "url",
    "secrets": "secrets",
    "held": "held",
    "types": "types",
    "apiVersion": "api_version",
}


class Controls:
    """The handlers of a test's requests."""

    def __init__(self, ledger: Ledger, events: EventLog, holds: dict[str, asyncio.Event]) -> None:
        self.ledger = ledger
        self.events = events
        self.holds = holds

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the test controls."""
        return [
            web.get("/_clock", self.show_clock),
            web.post("/_clock", self.advance_clock),
            web.patch("/_endpoint", self.change_endpoint),
            web.patch("/_ledger", self.change_ledger),
            web.get("/_events", self.list_events),
            web.get("/_events/{id}/signed", self.sign_event),
            web.get("/_holds", self.list_holds),
            web.delete("/_holds/{name}", self.release_hold),
            web.delete("/_customers/{id}", self.forget_customer),
            web.post("/_subscriptions/{id}/{move}", self.move_subscription),
            web.post("/_sessions/{id}/{action}", self.act_on_session),
        ]

    async def show_clock(self, _request: web.Request) -> web.Response:
        return web.json_response({"now": self.ledger.now})

    async def advance_clock(self, request: web.Request) -> web.Response:
        body = await _read(request)
        self.ledger.advance(float(body["advance"]))
        return await self.show_clock(request)

    async def change_endpoint(self, request: web.Request) -> web.Response:
        for name, value in (await _read(request)).items():
            if name not in ENDPOINT_FIELDS:
                raise web.HTTPBadRequest(text=f"An endpoint has no {name}")
            setattr(self.events.endpoint, ENDPOINT_FIELDS[name], value)
        return web.Response(status=204)

    async def change_ledger(self, request: web.Request) -> web.Response:
        gives_up = (await _read(request))["givesUp"]
        if gives_up not in ("canceled", "unpaid", "past_due"):
            raise web.HTTPBadRequest(text="givesUp must be canceled, unpaid or past_due")
        self.ledger.gives_up = gives_up
        return web.Response(status=204)

    async def list_events(self, _request: web.Request) -> web.Response:
        return web.json_response({"events": [sent.describe() for sent in self.events.all()]})

    async def sign_event(self, request: web.Request) -> web.Response:
        sent = self.events.find(request.match_info["id"])
        if sent is None:
            raise web.HTTPNotFound(text="There is no such event")
        body, signature = self.events.sign(sent)
        return web.json_response({"body": body, "signature": signature})

    async def list_holds(self, _request: web.Request) -> web.Response:
        waiting = [name for name, event in self.holds.items() if not event.is_set()]
        return web.json_response({"holds": waiting})

    async def release_hold(self, request: web.Request) -> web.Response:
        hold = self.holds.get(request.match_info["name"])
        if hold is None:
            raise web.HTTPNotFound(text="No answer is held under this name")
        hold.set()
        return web.Response(status=204)

    async def forget_customer(self, request: web.Request) -> web.Response:
        return self._run(lambda: self.ledger.forget_customer(request.match_info["id"]))

    async def move_subscription(self, request: web.Request) -> web.Response:
        move = MOVES.get(request.match_info["move"])
        if move is None:
            raise web.HTTPNotFound(text=f"A move is one of {', '.join(MOVES)}")
        return self._run(
            lambda: move(self.ledger, self.ledger.get("subscription", request.match_info["id"]))
        )

    async def act_on_session(self, request: web.Request) -> web.Response:
        action, session_id = request.match_info["action"], request.match_info["id"]
        email = (await _read(request)).get("email")

        def act() -> None:
            session = self.ledger.get("checkout.session", session_id)
            if action in ("debit-paid", "debit-failed"):
                self.ledger.settle_debit(session, paid=action == "debit-paid")
            else:
                check_out(self.ledger, session, action, email)

        return self._run(act)

    def _run(self, change: Callable[[], Any]) -> web.Response:
        """Apply a change; answer the ids and types of the events that the change emitted."""
        before = len(self.events.all())
        try:
            change()
        except Rejected as rejected:
            return web.json_response(rejected.body, status=rejected.status)
        emitted = [sent.event for sent in self.events.all()[before:]]
        events = [{"id": event["id"], "type": event["type"]} for event in emitted]
        return web.json_response({"events": events})


async def _read(request: web.Request) -> Json:
    body: Json = json.loads(await request.text() or "{}")
    return body
