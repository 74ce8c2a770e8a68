"""The stand-in as one web application: the API under /v1, the pages, and what a test asks of it.

Faults (see faults.py; `match` looks at "METHOD /path parameters"). With `done` the call is carried
out first, so that only its answer is lost:

    error   status 400 to 404, 409, 429, 500, 502 or 503 (500 unless told), code, message
    stall   answers only after `seconds` (an hour unless told)
    drop    the connection breaks off without an answer
    drip    the answer comes byte by byte, one every `seconds` (a tenth unless told)
    garbage 200 with a body that is not JSON
    hold    what the call found is answered only when DELETE /_holds/{name} lets it go

More for tests, beside /_faults and /_requests:

    GET    /_clock                          the time; POST {"advance": seconds} moves it ahead
    GET    /_endpoint                       where events go; PATCH {"url", "secrets", "held",
                                            "types", "copies", "apiVersion"} changes it
    GET    /_events                         every event, with the answers its deliveries got
    POST   /_events/release                 {"order": created, reversed or random, "seed"}
    GET    /_events/{id}/signed             its body and signature, as it would be delivered now
    POST   /_events/{id}/deliver            deliver it once and say what was answered
    GET    /_holds                          the names of answers held back
    POST   /_subscriptions/{id}/{move}      a turn of its life, see MOVES; answers the events' ids
    POST   /_sessions/{id}/{turn}           pay, pay-once, debit, decline; debit-paid, debit-failed
    PATCH  /_ledger                         {"period": seconds, "givesUp": what failing ends in}
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from infra.local.standins.faults import Fault, Faults, Journal, Rule, admin_routes
from infra.local.standins.stripe import pages
from infra.local.standins.stripe.ledger import (
    DECLINING_CARD,
    DEFAULT_CARD,
    LIVE,
    Ledger,
    new_id,
    public,
)
from infra.local.standins.stripe.mail import API_VERSION, ORDERS, Endpoint, Letter, Mail
from infra.local.standins.stripe.wire import (
    IdempotencyKeys,
    Json,
    Params,
    Refused,
    expanded,
    listed,
    missing,
    parse,
    within,
)

ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "Invalid request."),
    401: ("invalid_request_error", "Invalid API Key provided."),
    402: ("card_error", "Your card was declined."),
    403: ("invalid_request_error", "The provided key does not have access."),
    404: ("invalid_request_error", "Unrecognized request URL."),
    409: ("invalid_request_error", "This object is locked by another request."),
    429: ("invalid_request_error", "Request rate limit exceeded."),
    500: ("api_error", "An unexpected error occurred."),
    502: ("api_error", "Bad gateway."),
    503: ("api_error", "Service unavailable."),
}
DONE = (True, False)
FAULTS: Mapping[str, Mapping[str, Rule]] = {
    "error": {"status": ERRORS, "code": str, "message": str, "done": DONE},
    "stall": {"seconds": float, "done": DONE},
    "drop": {"done": DONE},
    "drip": {"seconds": float},
    "garbage": {"done": DONE},
    "hold": {"name": str},
}

type Operation = Callable[..., Json]
type Answer = tuple[int, Json]

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
}


def create_app(
    secret_key: str,
    endpoint: Endpoint | None = None,
    *,
    period: int | None = None,
    kept_in: Path | None = None,
) -> web.Application:
    """Return the stand-in for the account that the key belongs to; `sk_live_` makes it live.

    `period` is how many seconds a subscription's period lasts, instead of its price's month;
    `kept_in` is the file that keeps everything from one run to the next.
    """
    stand_in = _Stripe(secret_key, endpoint or Endpoint(), period, kept_in)
    app = web.Application(client_max_size=1024 * 1024)
    app.cleanup_ctx.append(stand_in.mail.run)
    app.cleanup_ctx.append(stand_in.run)
    app.on_shutdown.append(stand_in.stop)
    app.add_routes(stand_in.routes())
    return app


class _Stripe:
    def __init__(
        self, secret_key: str, endpoint: Endpoint, period: int | None, file: Path | None
    ) -> None:
        self._secret_key = secret_key
        self._faults, self._journal = Faults(FAULTS), Journal()
        self._keys = IdempotencyKeys()
        self._holds: dict[str, asyncio.Event] = {}
        self._stopping = asyncio.Event()
        self._file = file
        self._kept = ""
        livemode = secret_key.startswith(("sk_live_", "rk_live_"))
        self.mail = Mail(endpoint, livemode=livemode, clock=lambda: self.ledger.clock)
        self.ledger = Ledger(livemode=livemode, tell=self.mail.tell, period=period)

    async def run(self, _app: web.Application) -> AsyncIterator[None]:
        """Let happen what falls due, and keep everything, every half second."""
        if self._file and self._file.exists():
            state = json.loads(self._file.read_text())
            self.ledger.restore(state["ledger"])
            self.mail.restore(state["undelivered"])
            self.mail.resend()

        async def tick() -> None:
            while True:
                await asyncio.sleep(0.5)
                self.ledger.catch_up()
                self._keep_all()

        task = asyncio.get_running_loop().create_task(tick())
        yield
        task.cancel()
        self._keep_all()

    async def stop(self, _app: web.Application) -> None:
        """Let go of what is held or stalled: nobody waits for it any more."""
        self._stopping.set()
        for hold in self._holds.values():
            hold.set()

    def _keep_all(self) -> None:
        if self._file is None:
            return
        state = {"ledger": self.ledger.state(), "undelivered": self.mail.undelivered()}
        text = json.dumps(state)
        if text != self._kept:
            draft = self._file.with_suffix(".tmp")
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(text)
            draft.replace(self._file)
            self._kept = text

    def routes(self) -> list[web.RouteDef]:
        """Return everything there is to ask."""
        calls: list[tuple[str, str, Operation]] = [
            ("POST", "/v1/customers", self.create_customer),
            ("GET", "/v1/customers", self.list_customers),
            ("GET", "/v1/customers/search", self.search_customers),
            ("GET", "/v1/customers/{object_id}", self.get_customer),
            ("POST", "/v1/customers/{object_id}", self.update_customer),
            ("DELETE", "/v1/customers/{object_id}", self.delete_customer),
            ("POST", "/v1/products", self.create_product),
            ("GET", "/v1/products", partial(self.list_simple, "product", "/v1/products")),
            ("GET", "/v1/products/{object_id}", partial(self.get_simple, "product")),
            ("POST", "/v1/prices", self.create_price),
            ("GET", "/v1/prices", self.list_prices),
            ("GET", "/v1/prices/{object_id}", partial(self.get_simple, "price")),
            ("POST", "/v1/checkout/sessions", self.create_session),
            ("GET", "/v1/checkout/sessions", self.list_sessions),
            (
                "GET",
                "/v1/checkout/sessions/{object_id}",
                partial(self.get_simple, "checkout.session"),
            ),
            ("POST", "/v1/checkout/sessions/{object_id}/expire", self.expire_session),
            ("GET", "/v1/subscriptions", self.list_subscriptions),
            ("GET", "/v1/subscriptions/{object_id}", partial(self.get_simple, "subscription")),
            ("POST", "/v1/subscriptions/{object_id}", self.update_subscription),
            ("DELETE", "/v1/subscriptions/{object_id}", self.cancel_subscription),
            ("POST", "/v1/subscriptions/{object_id}/resume", self.resume_subscription),
            ("GET", "/v1/invoices", self.list_invoices),
            ("GET", "/v1/invoices/{object_id}", partial(self.get_simple, "invoice")),
            ("POST", "/v1/invoices/{object_id}/pay", self.pay_invoice),
            ("POST", "/v1/billing_portal/sessions", self.create_portal),
            ("GET", "/v1/events", self.list_events),
            ("GET", "/v1/events/{object_id}", self.get_event),
        ]
        return [
            *admin_routes(self._faults, self._journal),
            *(web.route(method, path, partial(self._call, run)) for method, path, run in calls),
            web.route("*", "/v1/{path:.*}", partial(self._call, self.unknown)),
            web.get("/c/pay/{id}", self.show_checkout),
            web.post("/c/pay/{id}", self.use_checkout),
            web.get("/p/session/{id}", self.show_portal),
            web.post("/p/session/{id}", self.use_portal),
            web.get("/_clock", self.see_clock),
            web.post("/_clock", self.move_clock),
            web.get("/_endpoint", self.see_endpoint),
            web.patch("/_endpoint", self.change_endpoint),
            web.patch("/_ledger", self.change_ledger),
            web.get("/_events", self.see_events),
            web.post("/_events/release", self.release_events),
            web.get("/_events/{id}/signed", self.sign_event),
            web.post("/_events/{id}/deliver", self.deliver_event),
            web.get("/_holds", self.see_holds),
            web.delete("/_holds/{name}", self.let_go),
            web.post("/_subscriptions/{id}/{move}", self.move_subscription),
            web.post("/_sessions/{id}/{turn}", self.turn_session),
        ]

    # One call of the API: key, faults, idempotency, and Stripe's errors

    async def _call(self, run: Operation, request: web.Request) -> web.StreamResponse:
        encoded = await request.text() or request.query_string
        self.ledger.catch_up()
        text = f"{request.method} {request.path} {encoded}"
        key = request.headers.get("idempotency-key")
        self._journal.note(
            {
                "method": request.method,
                "path": request.path,
                "params": parse(encoded),
                "idempotencyKey": key,
                "version": request.headers.get("stripe-version"),
            }
        )
        if not self._authorized(request):
            refused = Refused("Invalid API Key provided.", status=401)
            return self._answer(refused.status, refused.body)
        fault = self._faults.take(text)
        carry_out = partial(self._carry_out, run, encoded, request)
        if not key or request.method != "POST":
            return await self._with_fault(fault, request, carry_out)
        try:
            saved = self._keys.begin(key, request.method, request.path, encoded, self.ledger.clock)
        except Refused as refused:
            return self._answer(refused.status, refused.body)
        if saved:
            return await self._with_fault(fault, request, lambda: saved, replayed=True)
        try:
            return await self._with_fault(fault, request, carry_out, partial(self._keep, key))
        finally:
            self._keys.release(key)

    def _keep(self, key: str, answer: Answer) -> None:
        self._keys.finish(key, *answer)

    async def _with_fault(
        self,
        fault: Fault | None,
        request: web.Request,
        carry_out: Callable[[], Answer],
        keep: Callable[[Answer], None] = lambda _: None,
        *,
        replayed: bool = False,
    ) -> web.StreamResponse:
        """Carry the call out before or after what goes wrong with it, and keep its answer."""
        kind = fault.kind if fault else ""
        settings = fault.settings if fault else {}
        answer: Answer | None = None
        if kind in ("", "hold", "drip") or settings.get("done"):
            answer = carry_out()
        if kind == "hold":
            await self._held(settings.get("name", "hold"))
        if kind == "error":
            answer = _failure(settings)
        if answer:
            keep(answer)
        if kind == "stall":
            with suppress(TimeoutError):
                seconds = settings.get("seconds", 3600)
                await asyncio.wait_for(self._stopping.wait(), seconds)
            if answer is None:
                answer = carry_out()
                keep(answer)
        if kind == "drip":
            return await self._dripped(request, *(answer or (500, {})), settings)
        if kind == "drop" and request.transport:
            request.transport.abort()
        if kind == "garbage":
            return web.Response(body=b"<html>oops</html>", content_type="text/html")
        return self._answer(*(answer or (500, {})), replayed=replayed)

    async def _dripped(
        self, request: web.Request, status: int, body: Json, settings: Json
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"content-type": "application/json"})
        await response.prepare(request)
        with suppress(ConnectionError):  # who gave up on it has gone
            for byte in json.dumps(body).encode():
                if self._stopping.is_set():
                    break
                await response.write(bytes([byte]))
                await asyncio.sleep(settings.get("seconds", 0.1))
            await response.write_eof()
        return response

    def _carry_out(self, run: Operation, encoded: str, request: web.Request) -> Answer:
        try:
            params = Params(parse(encoded))
            answer = public(run(params, request=request, **request.match_info))
            params.done()
            if "data" in answer:
                answer["data"] = [public(thing) for thing in answer["data"]]
            return 200, expanded(answer, params.expand, self._find_public)
        except Refused as refused:
            return refused.status, refused.body

    def _find_public(self, object_id: str) -> Json | None:
        found = self.ledger.find(object_id)
        return public(found) if found else None

    async def _held(self, name: str) -> None:
        self._holds[name] = asyncio.Event()
        await self._holds[name].wait()

    def _authorized(self, request: web.Request) -> bool:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            credentials = base64.b64decode(credentials).decode().partition(":")[0]
        return credentials == self._secret_key

    def _answer(self, status: int, body: Json, *, replayed: bool = False) -> web.Response:
        headers = {"request-id": new_id("req", 14), "stripe-version": API_VERSION}
        if replayed:
            headers["idempotent-replayed"] = "true"
        return web.json_response(body, status=status, headers=headers)

    # The API's calls

    def unknown(self, _params: Params, *, request: web.Request, path: str) -> Json:
        raise Refused(f"Unrecognized request URL ({request.method}: /v1/{path}).", status=404)

    def create_customer(self, params: Params, **_: Any) -> Json:
        fields = {name: params.text(name) for name in ("email", "name", "phone")}
        metadata = params.hash("metadata")
        params.done()
        return self.ledger.create_customer(**fields, metadata=metadata)

    def list_customers(self, params: Params, **_: Any) -> Json:
        email, created = params.text("email"), params.hash("created")
        found = (
            customer
            for customer in self.ledger.all("customer")
            if not customer.get("deleted")
            and (email is None or customer["email"] == email)
            and within(customer["created"], created)
        )
        return listed("/v1/customers", found, params)

    def search_customers(self, params: Params, **_: Any) -> Json:
        found = self.ledger.search_customers(params.need("query"))
        page = listed("/v1/customers/search", found, params)
        return {**page, "object": "search_result", "next_page": None}

    def get_customer(self, params: Params, *, object_id: str, **_: Any) -> Json:
        customer = self.ledger.get("customer", object_id)
        if "subscriptions" in params.expand and not customer.get("deleted"):
            params.expand.remove("subscriptions")
            live = self.ledger.subscriptions_of(object_id, ended=False)
            page = {"object": "list", "data": live, "has_more": False}
            page["url"] = f"/v1/customers/{object_id}/subscriptions"
            return {**customer, "subscriptions": page}
        return customer

    def update_customer(self, params: Params, *, object_id: str, **_: Any) -> Json:
        customer = self.ledger.customer(object_id)
        names = [name for name in ("email", "name", "phone") if params.given(name)]
        changes: Json = {name: params.text(name) for name in names}
        if params.given("metadata"):
            changes["metadata"] = params.hash("metadata")
        params.done()
        return self.ledger.update(customer, **changes)

    def delete_customer(self, _params: Params, *, object_id: str, **_: Any) -> Json:
        return self.ledger.delete_customer(self.ledger.customer(object_id))

    def create_product(self, params: Params, **_: Any) -> Json:
        fields = {
            "name": params.need("name"),
            "description": params.text("description"),
            "metadata": params.hash("metadata"),
        }
        params.done()
        return self.ledger.create_product(fields)

    def create_price(self, params: Params, **_: Any) -> Json:
        product = self.ledger.get("product", params.need("product"), "product")
        currency, amount = params.need("currency"), params.number("unit_amount")
        recurring, lookup_key = params.hash("recurring"), params.text("lookup_key")
        metadata = params.hash("metadata")
        params.done()
        if recurring and recurring.get("interval") not in ("day", "week", "month", "year"):
            raise Refused("Invalid interval", param="recurring[interval]")
        return self.ledger.create_price(
            product["id"], currency, amount or 0, recurring, lookup_key, metadata
        )

    def list_prices(self, params: Params, **_: Any) -> Json:
        keys, product = params.list("lookup_keys"), params.text("product")
        active = params.flag("active")
        found = (
            price
            for price in self.ledger.all("price")
            if (not keys or price["lookup_key"] in keys)
            and (product is None or price["product"] == product)
            and (active is None or price["active"] == active)
        )
        return listed("/v1/prices", found, params)

    def list_simple(self, kind: str, url: str, params: Params, **_: Any) -> Json:
        return listed(url, self.ledger.all(kind), params)

    def get_simple(self, kind: str, _params: Params, *, object_id: str, **_: Any) -> Json:
        return self.ledger.get(kind, object_id)

    def create_session(self, params: Params, *, request: web.Request) -> Json:
        mode = params.need("mode")
        if mode != "subscription":
            raise Refused(f"Invalid mode: {mode}: this stand-in sells subscriptions", param="mode")
        customer = self.ledger.customer(params.need("customer"), "customer")
        lines = params.list("line_items")
        if len(lines) != 1 or not lines[0].get("price"):
            raise Refused("Missing required param: line_items.", param="line_items")
        price = self.ledger.get("price", lines[0]["price"], "line_items[0][price]")
        if not price["recurring"]:
            raise Refused("You must provide at least one recurring price in `subscription` mode")
        data = params.hash("subscription_data")
        for name in set(data) - {"metadata", "description"}:
            raise Refused(
                f"Received unknown parameter: subscription_data[{name}]",
                code="parameter_unknown",
                param=f"subscription_data[{name}]",
            )
        asked: Json = {
            "customer": customer["id"],
            "customer_email": None,
            "client_reference_id": params.text("client_reference_id"),
            "success_url": params.need("success_url"),
            "cancel_url": params.text("cancel_url"),
            "metadata": params.hash("metadata"),
            "allow_promotion_codes": params.flag("allow_promotion_codes"),
            "expires_at": params.number("expires_at"),
            "_subscription_data": data,
        }
        params.done()
        quantity = int(lines[0].get("quantity", 1))
        return self.ledger.create_session(
            str(request.url.origin()), price=price, quantity=quantity, asked=asked
        )

    def list_sessions(self, params: Params, **_: Any) -> Json:
        customer, status = params.text("customer"), params.text("status")
        subscription, created = params.text("subscription"), params.hash("created")
        found = (
            session
            for session in self.ledger.all("checkout.session")
            if (customer is None or session["customer"] == customer)
            and (status is None or session["status"] == status)
            and (subscription is None or session["subscription"] == subscription)
            and within(session["created"], created)
        )
        return listed("/v1/checkout/sessions", found, params)

    def expire_session(self, _params: Params, *, object_id: str, **_: Any) -> Json:
        return self.ledger.expire(self.ledger.get("checkout.session", object_id))

    def list_subscriptions(self, params: Params, **_: Any) -> Json:
        customer, status = params.text("customer"), params.text("status")
        price, created = params.text("price"), params.hash("created")
        if customer:
            self.ledger.get("customer", customer, "customer")
        if status not in (None, "all", "ended", "canceled", "incomplete_expired", *LIVE):
            raise Refused(f"Invalid status: {status}", param="status")

        def shown(subscription: Json) -> bool:
            ended = subscription["status"] not in LIVE
            return (
                (status is None and subscription["status"] != "canceled")
                or status == "all"
                or (status == "ended" and ended)
                or status == subscription["status"]
            )

        found = (
            subscription
            for subscription in self.ledger.all("subscription")
            if (customer is None or subscription["customer"] == customer)
            and shown(subscription)
            and (price is None or subscription["items"]["data"][0]["price"]["id"] == price)
            and within(subscription["created"], created)
        )
        return listed("/v1/subscriptions", found, params)

    def update_subscription(self, params: Params, *, object_id: str, **_: Any) -> Json:
        subscription = self.ledger.get("subscription", object_id)
        at_end, metadata = params.flag("cancel_at_period_end"), params.hash("metadata")
        if at_end is not None and params.given("cancel_at"):
            raise Refused(
                "You may only specify one of these parameters: cancel_at, cancel_at_period_end."
            )
        moves_end = params.given("cancel_at")
        cancel_at = params.number("cancel_at")
        params.done()
        if metadata:
            self.ledger.update(subscription, metadata=metadata)
        if at_end:
            self.ledger.cancel_at_period_end(subscription)
        elif at_end is False and subscription["cancel_at_period_end"]:
            self.ledger.keep(subscription)
        elif at_end is not None:
            self.ledger.require_live(subscription)
        if moves_end and cancel_at:
            self.ledger.cancel_at(subscription, cancel_at)
        elif moves_end:
            self.ledger.keep(subscription)
        return subscription

    def cancel_subscription(self, params: Params, *, object_id: str, **_: Any) -> Json:
        params.done()
        return self.ledger.cancel(self.ledger.get("subscription", object_id))

    def resume_subscription(self, _params: Params, *, object_id: str, **_: Any) -> Json:
        return self.ledger.resume(self.ledger.get("subscription", object_id))

    def list_invoices(self, params: Params, **_: Any) -> Json:
        customer, status = params.text("customer"), params.text("status")
        subscription = params.text("subscription")
        found = (
            invoice
            for invoice in self.ledger.all("invoice")
            if (customer is None or invoice["customer"] == customer)
            and (status is None or invoice["status"] == status)
            and subscription in (None, invoice["parent"]["subscription_details"]["subscription"])
        )
        return listed("/v1/invoices", found, params)

    def pay_invoice(self, _params: Params, *, object_id: str, **_: Any) -> Json:
        return self.ledger.pay_invoice(self.ledger.get("invoice", object_id))

    def create_portal(self, params: Params, *, request: web.Request) -> Json:
        customer = self.ledger.customer(params.need("customer"), "customer")
        return_url = params.text("return_url")
        params.done()
        return self.ledger.create_portal(str(request.url.origin()), customer, return_url)

    def list_events(self, params: Params, **_: Any) -> Json:
        kind, created = params.text("type"), params.hash("created")
        kinds = params.list("types") or ([kind] if kind else [])
        found = (
            letter.event
            for letter in reversed(self.mail.letters())
            if (not kinds or letter.event["type"] in kinds)
            and within(letter.event["created"], created)
        )
        return listed("/v1/events", found, params)

    def get_event(self, _params: Params, *, object_id: str, **_: Any) -> Json:
        letter = self.mail.find(object_id)
        if letter is None:
            raise missing("notification", object_id)
        return letter.event

    # Pages. What a form did is told on the page after it, so that loading that again does nothing

    async def show_checkout(self, request: web.Request) -> web.Response:
        session = self._page_object("checkout.session", request)
        if session["status"] != "open":
            return _html(pages.finished(_back_from(session)))
        customer = self.ledger.get("customer", session["customer"])
        price = self.ledger.get("price", session["_price"])
        product = self.ledger.get("product", price["product"])["name"]
        email, said = customer.get("email"), session.pop("_said", None)
        return _html(pages.checkout(session, price, product, email, said))

    async def use_checkout(self, request: web.Request) -> web.Response:
        form = await request.post()
        session = self._page_object("checkout.session", request)
        turn, email = str(form.get("do", "")), str(form.get("email", "")) or None
        if turn not in ("pay", "pay-once", "debit", "decline"):
            raise web.HTTPBadRequest(text="The form says none of pay, pay-once, debit, decline")
        if session["status"] == "open":
            self._turn(session, turn, email)
        if session["status"] == "complete":  # by this click, or by one just before it
            raise web.HTTPSeeOther(_back_from(session)["success_url"])
        if session["status"] == "open":
            session |= {"_said": ("alert", "Your card was declined."), "_email": email}
        raise web.HTTPSeeOther(request.path)

    def _turn(self, session: Json, turn: str, email: str | None) -> None:
        if turn == "decline":
            self.ledger.decline(session)
        elif turn == "debit":
            self.ledger.debit(session, email)
        else:
            self.ledger.pay(session, DEFAULT_CARD if turn == "pay" else DECLINING_CARD, email)

    async def show_portal(self, request: web.Request) -> web.Response:
        portal = self._page_object("billing_portal.session", request)
        customer = portal["customer"]
        live = [
            (subscription, self.ledger.card_of(subscription))
            for subscription in self.ledger.subscriptions_of(customer, ended=False)
        ]
        invoices = [one for one in self.ledger.all("invoice") if one["customer"] == customer]
        return _html(pages.portal(portal, live, invoices, portal.pop("_said", None)))

    async def use_portal(self, request: web.Request) -> web.Response:
        form = await request.post()
        portal = self._page_object("billing_portal.session", request)
        subscription = self.ledger.find(str(form.get("subscription")))
        if subscription is None or subscription.get("customer") != portal["customer"]:
            raise web.HTTPNotFound(text="This customer has no such subscription")
        end = subscription["items"]["data"][0]["current_period_end"]
        turns: Mapping[str, tuple[Callable[[], Any], str]] = {
            "cancel": (
                lambda: self.ledger.cancel_at(subscription, end),
                "Your plan ends with its period.",
            ),
            "keep": (lambda: self.ledger.keep(subscription), "Your plan goes on."),
            "pay": (lambda: self.ledger.pay_open(subscription), "Thank you."),
            "good-card": (
                lambda: self.ledger.use_card(subscription, DEFAULT_CARD),
                "The card is changed.",
            ),
            "bad-card": (
                lambda: self.ledger.use_card(subscription, DECLINING_CARD),
                "The card is changed.",
            ),
            "end-period": (lambda: self.ledger.end_period(subscription), "The period has ended."),
        }
        turn, said = turns.get(str(form.get("do")), (None, ""))
        if turn is None:
            raise web.HTTPBadRequest(text=f"The form says none of {', '.join(turns)}")
        try:
            turn()
            portal["_said"] = ("status", said)
        except Refused as refused:
            portal["_said"] = ("alert", str(refused))
        raise web.HTTPSeeOther(request.path)

    def _page_object(self, kind: str, request: web.Request) -> Json:
        self.ledger.catch_up()
        try:
            return self.ledger.get(kind, request.match_info["id"])
        except Refused as refused:
            page = pages.nothing(str(refused))
            raise web.HTTPNotFound(text=page, content_type="text/html") from refused

    # For tests

    async def see_clock(self, _request: web.Request) -> web.Response:
        return web.json_response({"now": self.ledger.now})

    async def move_clock(self, request: web.Request) -> web.Response:
        asked = await _body(request)
        self.ledger.move_ahead(float(asked["advance"]))
        return web.json_response({"now": self.ledger.now})

    async def see_endpoint(self, _request: web.Request) -> web.Response:
        return web.json_response(_described(self.mail.endpoint))

    async def change_endpoint(self, request: web.Request) -> web.Response:
        names = {"apiVersion": "api_version"}
        for name, value in (await _body(request)).items():
            if not hasattr(self.mail.endpoint, names.get(name, name)):
                raise web.HTTPBadRequest(text=f"An endpoint has no {name}")
            setattr(self.mail.endpoint, names.get(name, name), value)
        return web.json_response(_described(self.mail.endpoint))

    async def change_ledger(self, request: web.Request) -> web.Response:
        asked = await _body(request)
        self.ledger.period = asked.get("period", self.ledger.period)
        self.ledger.gives_up = asked.get("givesUp", self.ledger.gives_up)
        if self.ledger.gives_up not in ("canceled", "unpaid", "past_due"):
            raise web.HTTPBadRequest(text="givesUp is canceled, unpaid or past_due")
        return web.json_response({"period": self.ledger.period, "givesUp": self.ledger.gives_up})

    async def see_events(self, _request: web.Request) -> web.Response:
        return web.json_response({"events": [letter.described() for letter in self.mail.letters()]})

    async def release_events(self, request: web.Request) -> web.Response:
        asked = await _body(request)
        order = asked.get("order", "created")
        if order not in ORDERS:
            raise web.HTTPBadRequest(text=f"order is one of {', '.join(ORDERS)}")
        return web.json_response({"sent": self.mail.release(order, asked.get("seed"))})

    async def sign_event(self, request: web.Request) -> web.Response:
        body, signature = self.mail.signed(self._letter(request).event["id"])
        return web.json_response({"body": body, "signature": signature})

    async def deliver_event(self, request: web.Request) -> web.Response:
        status = await self.mail.deliver(self._letter(request).event["id"])
        return web.json_response({"answer": status})

    def _letter(self, request: web.Request) -> Letter:
        letter = self.mail.find(request.match_info["id"])
        if letter is None:
            raise web.HTTPNotFound(text="There is no such event")
        return letter

    async def see_holds(self, _request: web.Request) -> web.Response:
        waiting = [name for name, event in self._holds.items() if not event.is_set()]
        return web.json_response({"holds": waiting})

    async def let_go(self, request: web.Request) -> web.Response:
        hold = self._holds.get(request.match_info["name"])
        if hold is None:
            raise web.HTTPNotFound(text="Nothing is held under this name")
        hold.set()
        return web.Response(status=204)

    async def move_subscription(self, request: web.Request) -> web.Response:
        move = MOVES.get(request.match_info["move"])
        if move is None:
            raise web.HTTPNotFound(text=f"A move is one of {', '.join(MOVES)}")
        return await self._telling(
            lambda: move(self.ledger, self.ledger.get("subscription", request.match_info["id"]))
        )

    async def turn_session(self, request: web.Request) -> web.Response:
        turn, session_id = request.match_info["turn"], request.match_info["id"]
        email = (await _body(request)).get("email")

        def run() -> None:
            session = self.ledger.get("checkout.session", session_id)
            if turn in ("debit-paid", "debit-failed"):
                self.ledger.settle_debit(session, paid=turn == "debit-paid")
            else:
                self._turn(session, turn, email)

        return await self._telling(run)

    async def _telling(self, run: Callable[[], Any]) -> web.Response:
        """Run a change and answer with the ids of the events it made."""
        before = len(self.mail.letters())
        try:
            run()
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        made = self.mail.letters()[before:]
        events = [{"id": letter.event["id"], "type": letter.event["type"]} for letter in made]
        return web.json_response({"events": events})


def _failure(settings: Json) -> Answer:
    status = settings.get("status", 500)
    kind, usual = ERRORS[status]
    refused = Refused(
        settings.get("message", usual), status=status, kind=kind, code=settings.get("code")
    )
    return status, refused.body


def _described(endpoint: Endpoint) -> Json:
    return {
        "url": endpoint.url,
        "secrets": list(endpoint.secrets),
        "held": endpoint.held,
        "types": list(endpoint.types),
        "copies": endpoint.copies,
        "apiVersion": endpoint.api_version,
    }


async def _body(request: web.Request) -> Json:
    text = await request.text()
    try:
        body = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise web.HTTPBadRequest(text="The body is not JSON") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="The body is not a JSON object")
    return body


def _back_from(session: Json) -> Json:
    """Return the session with the address that it leads to when it was paid."""
    url = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
    return {**session, "success_url": url}


def _html(page: str) -> web.Response:
    return web.Response(text=page, content_type="text/html")
