"""The pages of Checkout and the billing portal, and a person's actions on these pages.

A form redirects to the page that shows its result, so that a reload does not send the form again.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from infra.local.standins.stripe import pages
from infra.local.standins.stripe.ledger import DECLINING_CARD, DEFAULT_CARD, Ledger
from infra.local.standins.stripe.protocol import Json, Rejected


class Browser:
    """The handlers of a browser's requests."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the pages and their forms."""
        return [
            web.get("/c/pay/{id}", self.show_checkout),
            web.post("/c/pay/{id}", self.submit_checkout),
            web.get("/p/session/{id}", self.show_portal),
            web.post("/p/session/{id}", self.submit_portal),
        ]

    async def show_checkout(self, request: web.Request) -> web.Response:
        session = self._get("checkout.session", request)
        if session["status"] != "open":
            return _html(pages.closed_checkout(_fill_success_url(session)))
        customer = self.ledger.get("customer", session["customer"])
        price = self.ledger.get("price", session["_price"])
        product = self.ledger.get("product", price["product"])["name"]
        email, result = customer.get("email"), session.pop("_result", None)
        return _html(pages.checkout(session, price, product, email, result))

    async def submit_checkout(self, request: web.Request) -> web.Response:
        form = await request.post()
        session = self._get("checkout.session", request)
        action, email = str(form.get("do", "")), str(form.get("email", "")) or None
        if session["status"] == "open":
            check_out(self.ledger, session, action, email)
        if session["status"] == "complete":  # by this click or an earlier one
            raise web.HTTPSeeOther(_fill_success_url(session)["success_url"])
        if session["status"] == "open":
            session |= {"_result": ("alert", "Your card was declined."), "_email": email}
        raise web.HTTPSeeOther(request.path)

    async def show_portal(self, request: web.Request) -> web.Response:
        portal = self._get("billing_portal.session", request)
        customer = portal["customer"]
        ongoing = [
            (subscription, self.ledger.card_of(subscription))
            for subscription in self.ledger.ongoing_subscriptions(customer)
        ]
        invoices = [one for one in self.ledger.all("invoice") if one["customer"] == customer]
        return _html(pages.portal(portal, ongoing, invoices, portal.pop("_result", None)))

    async def submit_portal(self, request: web.Request) -> web.Response:
        form = await request.post()
        portal = self._get("billing_portal.session", request)
        subscription = self.ledger.find(str(form.get("subscription")))
        if subscription is None or subscription.get("customer") != portal["customer"]:
            raise web.HTTPNotFound(text="The customer does not have this subscription")
        end = subscription["items"]["data"][0]["current_period_end"]
        ledger = self.ledger
        actions: Mapping[str, tuple[Callable[[Json], Any], str]] = {
            "cancel": (lambda one: ledger.cancel_at(one, end), "Your plan ends with its period."),
            "keep": (ledger.keep, "Your plan renews."),
            "pay": (ledger.pay_open, "Thank you."),
            "good-card": (lambda one: ledger.use_card(one, DEFAULT_CARD), "The card was changed."),
            "bad-card": (lambda one: ledger.use_card(one, DECLINING_CARD), "The card was changed."),
            "end-period": (ledger.end_period, "The period has ended."),
        }
        action, message = actions.get(str(form.get("do")), (None, ""))
        if action is None:
            raise web.HTTPBadRequest(text=f"The form's action must be one of {', '.join(actions)}")
        try:
            action(subscription)
            portal["_result"] = ("status", message)
        except Rejected as rejected:
            portal["_result"] = ("alert", str(rejected))
        raise web.HTTPSeeOther(request.path)

    def _get(self, kind: str, request: web.Request) -> Json:
        self.ledger.catch_up()
        try:
            return self.ledger.get(kind, request.match_info["id"])
        except Rejected as rejected:
            page = pages.not_found(str(rejected))
            raise web.HTTPNotFound(text=page, content_type="text/html") from rejected


def check_out(ledger: Ledger, session: Json, action: str, email: str | None) -> None:
    """Perform a person's action on a Checkout page."""
    match action:
        case "pay":
            ledger.pay(session, DEFAULT_CARD, email)
        case "pay-once":
            ledger.pay(session, DECLINING_CARD, email)
        case "debit":
            ledger.debit(session, email)
        case "decline":
            ledger.decline(session)
        case _:
            raise web.HTTPBadRequest(text="The action must be pay, pay-once, debit or decline")


def _fill_success_url(session: Json) -> Json:
    """Return the session with its id in the success URL."""
    url = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
    return {**session, "success_url": url}


def _html(page: str) -> web.Response:
    return web.Response(text=page, content_type="text/html")
