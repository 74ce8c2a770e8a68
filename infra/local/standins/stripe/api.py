"""The operations of the Stripe API: one method per call, on the objects in the ledger."""

from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web

from infra.local.standins.stripe.ledger import ONGOING, Ledger
from infra.local.standins.stripe.protocol import Json, Params, Rejected, paginate

type Operation = Callable[..., Json]


class Api:
    """Stripe's API for the account that the ledger holds."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def operations(self) -> list[tuple[str, str, Operation]]:
        """Return the method, path and operation of each call."""
        get = self.get
        return [
            ("POST", "/v1/customers", self.create_customer),
            ("GET", "/v1/customers", self.list_customers),
            ("GET", "/v1/customers/search", self.search_customers),
            ("GET", "/v1/customers/{object_id}", partial(get, "customer")),
            ("POST", "/v1/customers/{object_id}", self.update_customer),
            ("DELETE", "/v1/customers/{object_id}", self.delete_customer),
            ("POST", "/v1/prices", self.create_price),
            ("GET", "/v1/prices/{object_id}", partial(get, "price")),
            ("POST", "/v1/checkout/sessions", self.create_session),
            ("GET", "/v1/checkout/sessions", self.list_sessions),
            ("GET", "/v1/checkout/sessions/{object_id}", partial(get, "checkout.session")),
            ("POST", "/v1/checkout/sessions/{object_id}/expire", self.expire_session),
            ("GET", "/v1/subscriptions", self.list_subscriptions),
            ("GET", "/v1/subscriptions/{object_id}", partial(get, "subscription")),
            ("POST", "/v1/subscriptions/{object_id}", self.update_subscription),
            ("DELETE", "/v1/subscriptions/{object_id}", self.cancel_subscription),
            ("POST", "/v1/billing_portal/sessions", self.create_portal),
            ("*", "/v1/{path:.*}", self.reject_unknown_url),
        ]

    def reject_unknown_url(self, _params: Params, *, request: web.Request, path: str) -> Json:
        raise Rejected(f"Unrecognized request URL ({request.method}: /v1/{path}).", status=404)

    def get(self, kind: str, _params: Params, *, object_id: str, **_: Any) -> Json:
        return self.ledger.get(kind, object_id)

    def create_customer(self, params: Params, **_: Any) -> Json:
        email, name, metadata = params.text("email"), params.text("name"), params.hash("metadata")
        params.reject_unknown()
        return self.ledger.create_customer(email, name, metadata)

    def list_customers(self, params: Params, **_: Any) -> Json:
        since = int(params.hash("created").get("gte", 0))
        found = (
            customer
            for customer in self.ledger.all("customer")
            if not customer.get("deleted") and customer["created"] >= since
        )
        return paginate("/v1/customers", found, params)

    def search_customers(self, params: Params, **_: Any) -> Json:
        found = self.ledger.search_customers(params.require("query"))
        page = paginate("/v1/customers/search", found, params)
        return {**page, "object": "search_result", "next_page": None}

    def update_customer(self, params: Params, *, object_id: str, **_: Any) -> Json:
        customer, email = self.ledger.get_customer(object_id), params.require("email")
        params.reject_unknown()
        return self.ledger.update_email(customer, email)

    def delete_customer(self, _params: Params, *, object_id: str, **_: Any) -> Json:
        return self.ledger.delete_customer(self.ledger.get_customer(object_id))

    def create_price(self, params: Params, **_: Any) -> Json:
        product = self.ledger.get("product", params.require("product"), "product")
        currency, amount = params.require("currency"), params.number("unit_amount")
        interval = params.hash("recurring").get("interval")
        params.reject_unknown()
        if interval not in ("day", "week", "month", "year"):
            raise Rejected("Invalid interval", param="recurring[interval]")
        return self.ledger.create_price(product["id"], currency, amount or 0, interval)

    def create_session(self, params: Params, *, request: web.Request) -> Json:
        mode = params.require("mode")
        if mode != "subscription":
            raise Rejected(
                f"Invalid mode: {mode}: this stand-in only sells subscriptions", param="mode"
            )
        customer = self.ledger.get_customer(params.require("customer"), "customer")
        lines = params.list("line_items")
        if len(lines) != 1 or not lines[0].get("price"):
            raise Rejected("Missing required param: line_items.", param="line_items")
        price = self.ledger.get("price", lines[0]["price"], "line_items[0][price]")
        subscription_metadata = params.hash("subscription_data").get("metadata", {})
        fields: Json = {
            "customer": customer["id"],
            "customer_email": None,
            "client_reference_id": params.text("client_reference_id"),
            "success_url": params.require("success_url"),
            "cancel_url": params.text("cancel_url"),
            "metadata": params.hash("metadata"),
            "_subscription_metadata": subscription_metadata,
        }
        params.reject_unknown()
        quantity = int(lines[0].get("quantity", 1))
        return self.ledger.create_session(str(request.url.origin()), price, quantity, fields)

    def list_sessions(self, params: Params, **_: Any) -> Json:
        customer, status = params.text("customer"), params.text("status")
        found = (
            session
            for session in self.ledger.all("checkout.session")
            if customer in (None, session["customer"]) and status in (None, session["status"])
        )
        return paginate("/v1/checkout/sessions", found, params)

    def expire_session(self, _params: Params, *, object_id: str, **_: Any) -> Json:
        return self.ledger.expire(self.ledger.get("checkout.session", object_id))

    def list_subscriptions(self, params: Params, **_: Any) -> Json:
        customer, status = params.text("customer"), params.text("status")
        expands = params.list("expand")
        if expands not in ([], ["data.latest_invoice"]):
            raise Rejected("This property cannot be expanded.", param="expand")
        if customer:
            self.ledger.get("customer", customer, "customer")
        if status not in (None, "all", "canceled", "incomplete_expired", *ONGOING):
            raise Rejected(f"Invalid status: {status}", param="status")
        found = (
            subscription
            for subscription in self.ledger.all("subscription")
            if customer in (None, subscription["customer"])
            and (status in ("all", subscription["status"]) or status is None)
            and (status or subscription["status"] != "canceled")
        )
        page = paginate("/v1/subscriptions", found, params)
        if expands:
            page["data"] = [
                {**one, "latest_invoice": self.ledger.find(one["latest_invoice"])}
                for one in page["data"]
            ]
        return page

    def cancel_subscription(self, params: Params, *, object_id: str, **_: Any) -> Json:
        params.reject_unknown()
        return self.ledger.cancel(self.ledger.get("subscription", object_id))

    def update_subscription(self, params: Params, *, object_id: str, **_: Any) -> Json:
        subscription = self.ledger.get("subscription", object_id)
        at_period_end = params.flag("cancel_at_period_end")
        changes_end = params.is_present("cancel_at")
        cancel_at = params.number("cancel_at")
        params.reject_unknown()
        if at_period_end is not None and changes_end:
            raise Rejected(
                "You may only specify one of these parameters: cancel_at, cancel_at_period_end."
            )
        self.ledger.require_ongoing(subscription)
        if at_period_end:
            self.ledger.cancel_at_period_end(subscription)
        elif at_period_end is False and subscription["cancel_at_period_end"]:
            self.ledger.keep(subscription)
        if changes_end and cancel_at:
            self.ledger.cancel_at(subscription, cancel_at)
        elif changes_end:
            self.ledger.keep(subscription)
        return subscription

    def create_portal(self, params: Params, *, request: web.Request) -> Json:
        customer = self.ledger.get_customer(params.require("customer"), "customer")
        return_url = params.text("return_url")
        params.reject_unknown()
        return self.ledger.create_portal(str(request.url.origin()), customer, return_url)
