"""The objects of a Stripe account, in Stripe's shapes, and the rules by which they change.

`emit(type, object, previous)` is called for each change about which Stripe sends an event. The
ledger has its own clock, which a test can move ahead. Changes that become due are applied in the
order of their times: renewals, retries of failed payments, ends of cancelled subscriptions, and the
expiry of Checkout sessions.
"""

import calendar
import re
import secrets
import string
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from infra.local.standins.stripe.protocol import DAY, Json, Rejected, not_found

PRO_PRICE = "price_local_pro_monthly"
PRO_PRODUCT = "prod_local_pro"

DEFAULT_CARD = "4242"
DECLINING_CARD = "0341"
"""The last four digits of test cards. The declining card pays once; later payments are declined."""

SESSION_LIFETIME = DAY
RETRY_AFTER = (3 * DAY, 5 * DAY, 7 * DAY)
"""Seconds from a failed payment to each retry; after the last retry Stripe gives up."""
SEARCH_DELAY = 60
"""Seconds until search finds a new object, as documented by Stripe."""

ONGOING = ("trialing", "active", "past_due", "unpaid", "paused", "incomplete")
ALPHABET = string.ascii_letters + string.digits

type Emit = Callable[[str, Json, Json | None], None]


def new_id(prefix: str, length: int = 24) -> str:
    """Return a new identifier in Stripe's format."""
    return f"{prefix}_{''.join(secrets.choice(ALPHABET) for _ in range(length))}"


class Ledger:
    """All objects of an account, newest last."""

    def __init__(self, *, livemode: bool, emit: Emit) -> None:
        self.livemode = livemode
        self.gives_up = "canceled"
        """A subscription's status after the last failed retry: canceled, unpaid or past_due."""
        self._emit = emit
        self._ahead = 0.0
        self._objects: dict[str, Json] = {}
        self._due: dict[str, int] = {}
        self.create_product("Pro", PRO_PRODUCT)
        self.create_price(PRO_PRODUCT, "usd", 900, "month", PRO_PRICE)

    def state(self) -> Json:
        """Return the clock and all objects as JSON."""
        return {"ahead": self._ahead, "objects": self._objects, "due": self._due}

    def restore(self, state: Json) -> None:
        """Restore the clock and all objects from the result of `state()`."""
        self._ahead = state["ahead"]
        self._objects = state["objects"]
        self._due = state["due"]

    # Time

    @property
    def now(self) -> int:
        """Return the time, in seconds since 1970."""
        return int(time.time() + self._ahead)

    @property
    def clock(self) -> float:
        """Return the time with its fraction."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the clock ahead, and apply the changes that become due."""
        target = self._ahead + seconds
        while due := self._next_due(time.time() + target):
            object_id, at = due
            self._ahead = max(self._ahead, at - time.time())
            self._apply_due(object_id)
        self._ahead = target

    def catch_up(self) -> None:
        """Apply the changes that are due."""
        self.advance(0)

    def _next_due(self, until: float) -> tuple[str, int] | None:
        due = [(object_id, at) for object_id, at in self._due.items() if at <= until]
        return min(due, key=lambda one: one[1]) if due else None

    def _apply_due(self, object_id: str) -> None:
        del self._due[object_id]
        thing = self._objects[object_id]
        if thing["object"] == "checkout.session":
            self.expire(thing)
        elif thing["object"] == "invoice":
            self._retry_payment(thing)
        elif thing["status"] == "incomplete":
            self._change(thing, status="incomplete_expired", ended_at=self.now)
        else:
            self._end_period(thing)

    # Finding

    def find(self, object_id: str) -> Json | None:
        """Return the object, or None."""
        return self._objects.get(object_id)

    def get(self, kind: str, object_id: str, param: str = "id") -> Json:
        """Return an object. Raises Rejected: 404, or 400 if the id came from a parameter."""
        found = self._objects.get(object_id)
        if found is None or found["object"] != kind:
            raise not_found(kind, object_id, param, 404 if param == "id" else 400)
        return found

    def all(self, kind: str) -> Iterator[Json]:
        """Return the objects of a kind, newest first."""
        everything = reversed(self._objects.values())
        return (thing for thing in everything if thing["object"] == kind)

    def get_customer(self, object_id: str, param: str = "id") -> Json:
        """Return a customer who was not deleted. Raises Rejected."""
        found = self.get("customer", object_id, param)
        if found.get("deleted"):
            raise not_found("customer", object_id, param, 404 if param == "id" else 400)
        return found

    def ongoing_subscriptions(self, customer_id: str) -> list[Json]:
        """Return a customer's subscriptions that have not ended, newest first."""
        return [
            subscription
            for subscription in self.all("subscription")
            if subscription["customer"] == customer_id and subscription["status"] in ONGOING
        ]

    def search_customers(self, query: str) -> list[Json]:
        """Return the customers that match a query for metadata and are at least a minute old."""
        terms = re.split(r"\s+AND\s+", query.strip())
        metadata = {}
        for term in terms:
            found = re.fullmatch(r"""metadata\[['"](.+?)['"]\]:['"](.*?)['"]""", term)
            if not found:
                raise Rejected(f"We were unable to parse your search query: {query}", param="query")
            metadata[found[1]] = found[2]
        return [
            customer
            for customer in self.all("customer")
            if not customer.get("deleted")
            and customer["created"] + SEARCH_DELAY <= self.now
            and all(customer["metadata"].get(name) == value for name, value in metadata.items())
        ]

    # Customers, products, prices

    def create_customer(self, email: str | None, name: str | None, metadata: Json) -> Json:
        customer = self._add(
            "cus",
            {
                "object": "customer",
                "created": self.now,
                "currency": None,
                "delinquent": False,
                "email": email,
                "invoice_settings": {"default_payment_method": None},
                "livemode": self.livemode,
                "metadata": metadata,
                "name": name,
                "phone": None,
            },
            length=14,
        )
        self._emit("customer.created", customer, None)
        return customer

    def update_email(self, customer: Json, email: str) -> Json:
        return self._change(customer, email=email)

    def delete_customer(self, customer: Json) -> Json:
        """Delete a customer and cancel the subscriptions; the id stays, marked as `deleted`."""
        for subscription in self.ongoing_subscriptions(customer["id"]):
            self.cancel(subscription)
        self._emit("customer.deleted", customer, None)
        gone = {"id": customer["id"], "object": "customer", "deleted": True}
        self._objects[customer["id"]] = gone
        return gone

    def forget_customer(self, customer_id: str) -> None:
        """Remove a customer and its objects completely; the ids are then unknown."""
        self.get_customer(customer_id)
        for object_id, thing in list(self._objects.items()):
            if customer_id in (object_id, thing.get("customer")):
                del self._objects[object_id]
                self._due.pop(object_id, None)

    def create_product(self, name: str, object_id: str) -> Json:
        product = {
            "object": "product",
            "active": True,
            "created": self.now,
            "livemode": self.livemode,
            "metadata": {},
            "name": name,
            "type": "service",
        }
        return self._add("prod", product, object_id)

    def create_price(
        self,
        product: str,
        currency: str,
        unit_amount: int,
        interval: str,
        object_id: str | None = None,
    ) -> Json:
        price = {
            "object": "price",
            "active": True,
            "billing_scheme": "per_unit",
            "created": self.now,
            "currency": currency,
            "livemode": self.livemode,
            "metadata": {},
            "product": product,
            "recurring": {"interval": interval, "interval_count": 1, "usage_type": "licensed"},
            "type": "recurring",
            "unit_amount": unit_amount,
        }
        return self._add("price", price, object_id)

    # Checkout

    def create_session(self, origin: str, price: Json, quantity: int, fields: Json) -> Json:
        """Open a Checkout session with these fields of the request."""
        mode = "live" if self.livemode else "test"
        session_id = new_id(f"cs_{mode}", 58)
        total = price["unit_amount"] * quantity
        expires_at = self.now + SESSION_LIFETIME
        session = {
            "object": "checkout.session",
            "amount_subtotal": total,
            "amount_total": total,
            "created": self.now,
            "currency": price["currency"],
            "customer_details": None,
            "expires_at": expires_at,
            "invoice": None,
            "livemode": self.livemode,
            "mode": "subscription",
            "payment_status": "unpaid",
            "status": "open",
            "subscription": None,
            "url": f"{origin}/c/pay/{session_id}",
            "_price": price["id"],
            "_quantity": quantity,
            **fields,
        }
        self._add("cs", session, session_id)
        self._due[session_id] = expires_at
        return session

    def expire(self, session: Json) -> Json:
        """End an open session."""
        if session["status"] != "open":
            raise Rejected(
                f'Only Checkout Sessions with a status in ["open"] can be expired. This '
                f"Checkout Session has a status of {session['status']}."
            )
        self._due.pop(session["id"], None)
        session.update(status="expired", url=None)
        self._emit("checkout.session.expired", session, None)
        return session

    def pay(self, session: Json, card: str, email: str | None) -> Json:
        """Complete an open session with a card; the first payment always succeeds."""
        subscription = self._complete(session, card, email, "active")
        invoice = self._bill(subscription, "subscription_create")
        session.update(payment_status="paid", invoice=invoice["id"])
        self._settle(invoice)
        self._emit("checkout.session.completed", session, None)
        return subscription

    def decline(self, session: Json) -> None:
        """Decline the card: the session stays open, and no subscription is created."""
        self._require_open(session)
        intent = {
            "id": new_id("pi"),
            "object": "payment_intent",
            "amount": session["amount_total"],
            "currency": session["currency"],
            "customer": session["customer"],
            "livemode": self.livemode,
            "status": "requires_payment_method",
            "last_payment_error": {"code": "card_declined", "type": "card_error"},
        }
        self._emit("payment_intent.payment_failed", intent, None)

    def debit(self, session: Json, email: str | None) -> Json:
        """Complete an open session with a bank debit, which settles days later."""
        subscription = self._complete(session, DEFAULT_CARD, email, "incomplete")
        invoice = self._bill(subscription, "subscription_create")
        session["invoice"] = invoice["id"]
        self._due[subscription["id"]] = self.now + 30 * DAY
        self._emit("checkout.session.completed", session, None)
        return subscription

    def settle_debit(self, session: Json, *, paid: bool) -> None:
        """Settle the bank debit of a completed session, or make the debit fail."""
        subscription = self.get("subscription", session["subscription"])
        invoice = self.get("invoice", session["invoice"])
        if paid:
            session["payment_status"] = "paid"
            self._start(subscription)
            self._settle(invoice)
            self._emit("checkout.session.async_payment_succeeded", session, None)
        else:
            self._fail(invoice)
            self._due.pop(subscription["id"], None)
            self._due.pop(invoice["id"], None)
            self._change(subscription, status="incomplete_expired", ended_at=self.now)
            self._emit("checkout.session.async_payment_failed", session, None)

    def _require_open(self, session: Json) -> None:
        if session["status"] != "open":
            raise Rejected(f"This Checkout Session is {session['status']}, no longer open.")

    def _complete(self, session: Json, card: str, email: str | None, status: str) -> Json:
        self._require_open(session)
        self._due.pop(session["id"], None)
        customer = self.get_customer(session["customer"])
        if not customer["email"] and email:
            self._change(customer, email=email)
        method = self._attach_card(customer, card)
        subscription = self._subscribe(session, method, status)
        session.update(
            status="complete",
            url=None,
            subscription=subscription["id"],
            customer_details={"email": customer["email"], "name": customer["name"]},
        )
        return subscription

    def _attach_card(self, customer: Json, last4: str) -> Json:
        method = self._add(
            "pm",
            {
                "object": "payment_method",
                "billing_details": {"email": customer["email"]},
                "card": {"brand": "visa", "exp_month": 12, "exp_year": 2040, "last4": last4},
                "created": self.now,
                "customer": customer["id"],
                "livemode": self.livemode,
                "metadata": {},
                "type": "card",
            },
        )
        self._emit("payment_method.attached", method, None)
        return method

    # Subscriptions

    def _subscribe(self, session: Json, method: Json, status: str) -> Json:
        price = self.get("price", session["_price"])
        subscription_id = new_id("sub")
        start, end = self.now, self._period_end(price, self.now)
        item = {
            "id": new_id("si", 14),
            "object": "subscription_item",
            "created": start,
            "current_period_end": end,
            "current_period_start": start,
            "metadata": {},
            "price": price,
            "quantity": session["_quantity"],
            "subscription": subscription_id,
        }
        url = f"/v1/subscription_items?subscription={subscription_id}"
        subscription = {
            "object": "subscription",
            "billing_cycle_anchor": start,
            "billing_mode": {"flexible": {"proration_discounts": "included"}, "type": "flexible"},
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "cancellation_details": {"comment": None, "feedback": None, "reason": None},
            "collection_method": "charge_automatically",
            "created": start,
            "currency": price["currency"],
            "customer": session["customer"],
            "default_payment_method": method["id"],
            "ended_at": None,
            "items": {
                "object": "list",
                "data": [item],
                "has_more": False,
                "total_count": 1,
                "url": url,
            },
            "latest_invoice": None,
            "livemode": self.livemode,
            "metadata": session["_subscription_metadata"],
            "pause_collection": None,
            "start_date": start,
            "status": status,
        }
        self._add("sub", subscription, subscription_id)
        if status == "active":
            self._due[subscription_id] = end
        self._emit("customer.subscription.created", subscription, None)
        return subscription

    def cancel_at_period_end(self, subscription: Json) -> Json:
        """Schedule the subscription's end for the period's end; set `cancel_at_period_end`."""
        self.require_ongoing(subscription)
        return self._change(
            subscription,
            cancel_at_period_end=True,
            cancel_at=_item(subscription)["current_period_end"],
            canceled_at=self.now,
        )

    def cancel_at(self, subscription: Json, moment: int) -> Json:
        """Schedule the end for a given time; the portal passes the end of the period."""
        self.require_ongoing(subscription)
        self._change(subscription, cancel_at=moment, canceled_at=self.now)
        self._due[subscription["id"]] = min(moment, _item(subscription)["current_period_end"])
        return subscription

    def keep(self, subscription: Json) -> Json:
        """Undo a scheduled cancellation."""
        self.require_ongoing(subscription)
        self._due[subscription["id"]] = _item(subscription)["current_period_end"]
        return self._change(
            subscription, cancel_at_period_end=False, cancel_at=None, canceled_at=None
        )

    def cancel(self, subscription: Json, reason: str = "cancellation_requested") -> Json:
        """End the subscription now."""
        if subscription["status"] not in ONGOING:
            raise not_found("subscription", subscription["id"])
        self._due.pop(subscription["id"], None)
        for invoice in self._open_invoices(subscription):
            self._due.pop(invoice["id"], None)
        subscription.update(
            status="canceled",
            canceled_at=subscription["canceled_at"] or self.now,
            ended_at=self.now,
            cancellation_details={"comment": None, "feedback": None, "reason": reason},
        )
        self._emit("customer.subscription.deleted", subscription, None)
        return subscription

    def pause(self, subscription: Json) -> Json:
        """Pause the subscription, as Stripe does when a trial without a card ends."""
        self.require_ongoing(subscription)
        previous = {"status": subscription["status"]}
        self._due.pop(subscription["id"], None)
        subscription["status"] = "paused"
        self._emit("customer.subscription.updated", subscription, previous)
        self._emit("customer.subscription.paused", subscription, None)
        return subscription

    def resume(self, subscription: Json) -> Json:
        """Resume a paused subscription with a new period."""
        if subscription["status"] != "paused":
            raise Rejected("You can only resume a subscription whose status is paused.")
        self._new_period(subscription, self.now)
        subscription["status"] = "active"
        self._emit("customer.subscription.updated", subscription, {"status": "paused"})
        self._emit("customer.subscription.resumed", subscription, None)
        return subscription

    def pause_collection(self, subscription: Json) -> Json:
        """Stop collecting payments: the subscription stays active, and its invoices become void."""
        self.require_ongoing(subscription)
        paused = {"behavior": "void", "resumes_at": None}
        return self._change(subscription, pause_collection=paused)

    def resume_collection(self, subscription: Json) -> Json:
        """Collect payments again, from the next invoice on."""
        self.require_ongoing(subscription)
        return self._change(subscription, pause_collection=None)

    def end_period(self, subscription: Json) -> Json:
        """End the period now: renew the subscription, or end a cancelled subscription."""
        self.require_ongoing(subscription)
        _item(subscription)["current_period_end"] = self.now
        if subscription["cancel_at"] is not None:
            subscription["cancel_at"] = self.now
        self._due.pop(subscription["id"], None)
        self._end_period(subscription)
        return subscription

    def use_card(self, subscription: Json, last4: str) -> Json:
        """Use another card for the subscription's payments."""
        method = self._attach_card(self.get_customer(subscription["customer"]), last4)
        return self._change(subscription, default_payment_method=method["id"])

    def fail_payment(self, subscription: Json) -> Json:
        """Renew with a declining card, which makes the subscription past due."""
        self.use_card(subscription, DECLINING_CARD)
        return self.end_period(subscription)

    def pay_up(self, subscription: Json) -> Json:
        """Pay the open invoices with a valid card."""
        self.use_card(subscription, DEFAULT_CARD)
        return self.pay_open(subscription)

    def pay_open(self, subscription: Json) -> Json:
        """Pay the open invoices with the current card. Raises Rejected if the card is declined."""
        for invoice in self._open_invoices(subscription):
            self.pay_invoice(invoice)
        return subscription

    def give_up(self, subscription: Json) -> Json:
        """Stop retrying: the subscription gets the status `gives_up`."""
        if self.gives_up == "canceled":
            return self.cancel(subscription, "payment_failed")
        return self._change(subscription, status=self.gives_up)

    def require_ongoing(self, subscription: Json) -> None:
        """Raise Rejected if the subscription has ended."""
        if subscription["status"] not in ONGOING:
            raise Rejected(
                "A canceled subscription can only update its cancellation_details and metadata."
            )

    def _end_period(self, subscription: Json) -> None:
        end = _item(subscription)["current_period_end"]
        cancel_at = subscription["cancel_at"]
        if subscription["cancel_at_period_end"] or (cancel_at and cancel_at <= self.now):
            self.cancel(subscription)
            return
        previous = {"latest_invoice": subscription["latest_invoice"]}
        self._new_period(subscription, end)
        invoice = self._bill(subscription, "subscription_cycle")
        if subscription["status"] == "unpaid":
            return
        if subscription["pause_collection"]:
            invoice["status"] = "void"
            self._emit("invoice.voided", invoice, None)
            self._emit("customer.subscription.updated", subscription, previous)
        elif self.card_of(subscription) == DECLINING_CARD:
            self._fail(invoice)
        else:
            self._settle(invoice)
            self._emit("customer.subscription.updated", subscription, previous)

    def _new_period(self, subscription: Json, start: int) -> None:
        item = _item(subscription)
        item["current_period_start"] = start
        item["current_period_end"] = self._period_end(item["price"], start)
        due = item["current_period_end"]
        if subscription["cancel_at"]:
            due = min(due, subscription["cancel_at"])
        self._due[subscription["id"]] = due

    def _period_end(self, price: Json, start: int) -> int:
        interval: str = price["recurring"]["interval"]
        days = {"day": 1, "week": 7}.get(interval)
        return start + days * DAY if days else months_later(start, 12 if interval == "year" else 1)

    def _start(self, subscription: Json) -> None:
        self._due[subscription["id"]] = _item(subscription)["current_period_end"]
        self._change(subscription, status="active")

    def card_of(self, subscription: Json) -> str:
        """Return the last four digits of a subscription's card."""
        method = self.get("payment_method", subscription["default_payment_method"])
        last4: str = method["card"]["last4"]
        return last4

    # Invoices

    def _bill(self, subscription: Json, reason: str) -> Json:
        item = _item(subscription)
        total = item["price"]["unit_amount"] * item["quantity"]
        invoice_id = new_id("in")
        details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
        parent = {
            "type": "subscription_details",
            "subscription_details": details,
        }
        line = {
            "id": new_id("il"),
            "object": "line_item",
            "amount": total,
            "currency": subscription["currency"],
            "description": "Pro",
            "invoice": invoice_id,
            "livemode": self.livemode,
            "metadata": subscription["metadata"],
            "period": {
                "start": item["current_period_start"],
                "end": item["current_period_end"],
            },
            "quantity": item["quantity"],
        }
        customer = self.get("customer", subscription["customer"])
        invoice = {
            "object": "invoice",
            "amount_due": total,
            "amount_paid": 0,
            "amount_remaining": total,
            "attempt_count": 0,
            "attempted": False,
            "billing_reason": reason,
            "collection_method": "charge_automatically",
            "created": self.now,
            "currency": subscription["currency"],
            "customer": subscription["customer"],
            "customer_email": customer.get("email"),
            "lines": {
                "object": "list",
                "data": [line],
                "has_more": False,
                "url": f"/v1/invoices/{invoice_id}/lines",
            },
            "livemode": self.livemode,
            "metadata": {},
            "next_payment_attempt": None,
            "parent": parent,
            "period_end": self.now,
            "period_start": self.now,
            "status": "open",
            "status_transitions": {
                "finalized_at": self.now,
                "marked_uncollectible_at": None,
                "paid_at": None,
                "voided_at": None,
            },
            "subtotal": total,
            "total": total,
        }
        self._add("in", invoice, invoice_id)
        subscription["latest_invoice"] = invoice_id
        self._emit("invoice.created", invoice, None)
        self._emit("invoice.finalized", invoice, None)
        return invoice

    def pay_invoice(self, invoice: Json) -> Json:
        """Pay an open invoice now. Raises Rejected (402) if the card is declined."""
        if invoice["status"] != "open":
            raise Rejected("Invoice is already paid", code="invoice_already_paid")
        subscription = self._subscription_of(invoice)
        if self.card_of(subscription) == DECLINING_CARD:
            self._fail(invoice)
            raise Rejected(
                "Your card was declined.", status=402, kind="card_error", code="card_declined"
            )
        self._settle(invoice)
        if subscription["status"] in ("past_due", "unpaid") and not self._open_invoices(
            subscription
        ):
            self._change(subscription, status="active")
        return invoice

    def _settle(self, invoice: Json) -> None:
        self._due.pop(invoice["id"], None)
        invoice.update(
            status="paid",
            amount_paid=invoice["amount_due"],
            amount_remaining=0,
            attempted=True,
            attempt_count=invoice["attempt_count"] + 1,
            next_payment_attempt=None,
        )
        invoice["status_transitions"]["paid_at"] = self.now
        self._emit("invoice.paid", invoice, None)
        self._emit("invoice.payment_succeeded", invoice, None)

    def _fail(self, invoice: Json) -> None:
        tries = invoice["attempt_count"]
        again = self.now + RETRY_AFTER[tries] if tries < len(RETRY_AFTER) else None
        invoice.update(attempted=True, attempt_count=tries + 1, next_payment_attempt=again)
        if again:
            self._due[invoice["id"]] = again
        subscription = self._subscription_of(invoice)
        self._emit("invoice.payment_failed", invoice, None)
        if subscription["status"] == "active":
            self._change(subscription, status="past_due")

    def _retry_payment(self, invoice: Json) -> None:
        subscription = self._subscription_of(invoice)
        if subscription["status"] != "past_due":
            return
        try:
            self.pay_invoice(invoice)
        except Rejected:
            if invoice["next_payment_attempt"] is None:
                self.give_up(subscription)

    def _subscription_of(self, invoice: Json) -> Json:
        return self.get("subscription", invoice["parent"]["subscription_details"]["subscription"])

    def _open_invoices(self, subscription: Json) -> list[Json]:
        return [
            invoice
            for invoice in self.all("invoice")
            if invoice["status"] == "open"
            and self._subscription_of(invoice)["id"] == subscription["id"]
        ]

    # Billing portal

    def create_portal(self, origin: str, customer: Json, return_url: str | None) -> Json:
        """Open a session of the billing portal."""
        portal = {
            "object": "billing_portal.session",
            "configuration": "bpc_local",
            "created": self.now,
            "customer": customer["id"],
            "livemode": self.livemode,
            "return_url": return_url,
        }
        self._add("bps", portal)
        portal["url"] = f"{origin}/p/session/{portal['id']}"
        return portal

    # Storing

    def _add(
        self, prefix: str, fields: Json, object_id: str | None = None, length: int = 24
    ) -> Json:
        fields["id"] = object_id or new_id(prefix, length)
        self._objects[fields["id"]] = fields
        return fields

    def _change(self, thing: Json, **changes: Any) -> Json:
        previous = {name: thing[name] for name in changes if thing[name] != changes[name]}
        thing.update(changes)
        kinds = {"subscription": "customer.subscription"}
        if previous:
            kind = kinds.get(thing["object"], thing["object"])
            self._emit(f"{kind}.updated", thing, previous)
        return thing


def to_public(thing: Json) -> Json:
    """Return an object without its private fields."""
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def _item(subscription: Json) -> Json:
    item: Json = subscription["items"]["data"][0]
    return item


def months_later(start: int, months: int) -> int:
    """Return the same day and time some months later; in a shorter month, the last day."""
    moment = datetime.fromtimestamp(start, UTC)
    years, month = divmod(moment.month - 1 + months, 12)
    year, month = moment.year + years, month + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    later = moment.replace(year=year, month=month, day=day)
    return int(later.timestamp())
