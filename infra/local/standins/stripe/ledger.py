"""What Stripe holds, and the rules by which it changes: objects in Stripe's shapes, by id.

Every change that Stripe tells of is told to `tell(type, object, previous)`. Time is the ledger's
own: it runs with the wall clock, and can be moved ahead, and then what fell due on the way happens
in its order: renewals, further tries at a failed payment, the end of what was cancelled, the
expiry of checkout sessions.
"""

import calendar
import re
import secrets
import string
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from infra.local.standins.stripe.wire import DAY, Json, Refused, missing

PRO_PRICE = "price_local_pro_monthly"
PRO_PRODUCT = "prod_local_pro"

DEFAULT_CARD = "4242"
DECLINING_CARD = "0341"
"""The last four digits of Stripe's test cards: one that pays, one that only seems to."""

SESSION_LIFETIME = DAY
RETRY_AFTER = (3 * DAY, 5 * DAY, 7 * DAY)
"""Seconds from a failed payment to each further try; after the last one Stripe gives up."""
SEARCH_DELAY = 60
"""Seconds until search finds a new object, as Stripe says."""
INCOMPLETE_LIFETIME = 23 * 3600

LIVE = ("trialing", "active", "past_due", "unpaid", "paused", "incomplete")
ALPHABET = string.ascii_letters + string.digits

type Tell = Callable[[str, Json, Json | None], None]


def new_id(prefix: str, length: int = 24) -> str:
    """Return a new identifier in Stripe's manner."""
    return f"{prefix}_{''.join(secrets.choice(ALPHABET) for _ in range(length))}"


class Ledger:
    """All objects, newest last."""

    def __init__(self, *, livemode: bool, tell: Tell, period: int | None = None) -> None:
        self.livemode = livemode
        self.period = period
        """Seconds of a subscription's period instead of its price's interval."""
        self.gives_up = "canceled"
        """What a subscription becomes when every try failed: canceled, unpaid or past_due."""
        self._tell = tell
        self._ahead = 0.0
        self._objects: dict[str, Json] = {}
        self._due: dict[str, int] = {}
        self.create_product({"name": "Pro"}, PRO_PRODUCT)
        recurring = {"interval": "month", "interval_count": 1}
        self.create_price(PRO_PRODUCT, "usd", 900, recurring, "pro_monthly", {}, PRO_PRICE)

    def state(self) -> Json:
        """Return everything, for a file."""
        return {"ahead": self._ahead, "objects": self._objects, "due": self._due}

    def restore(self, state: Json) -> None:
        """Be what `state` said once."""
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

    def move_ahead(self, seconds: float) -> None:
        """Let the time pass, and on the way all that falls due."""
        target = self._ahead + seconds
        while due := self._next_due(time.time() + target):
            object_id, at = due
            self._ahead = max(self._ahead, at - time.time())
            self._fall_due(object_id)
        self._ahead = target

    def catch_up(self) -> None:
        """Let happen what fell due since."""
        self.move_ahead(0)

    def _next_due(self, until: float) -> tuple[str, int] | None:
        due = [(object_id, at) for object_id, at in self._due.items() if at <= until]
        return min(due, key=lambda one: one[1]) if due else None

    def _fall_due(self, object_id: str) -> None:
        del self._due[object_id]
        thing = self._objects[object_id]
        if thing["object"] == "checkout.session":
            self.expire(thing)
        elif thing["object"] == "invoice":
            self._try_again(thing)
        elif thing["status"] == "incomplete":
            self._change(thing, status="incomplete_expired", ended_at=self.now)
        else:
            self._end_period(thing)

    # Finding

    def find(self, object_id: str) -> Json | None:
        """Return the object, or None."""
        return self._objects.get(object_id)

    def get(self, kind: str, object_id: str, param: str = "id") -> Json:
        """Return the object of that kind. Raises Refused: 404, or 400 for a parameter's object."""
        found = self._objects.get(object_id)
        if found is None or found["object"] != kind:
            raise missing(kind, object_id, param, 404 if param == "id" else 400)
        return found

    def all(self, kind: str) -> Iterator[Json]:
        """Return the objects of a kind, newest first."""
        everything = reversed(self._objects.values())
        return (thing for thing in everything if thing["object"] == kind)

    def customer(self, object_id: str, param: str = "id") -> Json:
        """Return a customer that was not deleted. Raises Refused."""
        found = self.get("customer", object_id, param)
        if found.get("deleted"):
            raise missing("customer", object_id, param, 404 if param == "id" else 400)
        return found

    def subscriptions_of(self, customer_id: str, *, ended: bool = True) -> list[Json]:
        """Return a customer's subscriptions, newest first."""
        return [
            subscription
            for subscription in self.all("subscription")
            if subscription["customer"] == customer_id and (ended or subscription["status"] in LIVE)
        ]

    def search_customers(self, query: str) -> list[Json]:
        """Return the customers whose metadata a query names; only those known for a minute."""
        terms = re.split(r"\s+AND\s+", query.strip())
        wanted = {}
        for term in terms:
            found = re.fullmatch(r"""metadata\[['"](.+?)['"]\]:['"](.*?)['"]""", term)
            if not found:
                raise Refused(f"We were unable to parse your search query: {query}", param="query")
            wanted[found[1]] = found[2]
        return [
            customer
            for customer in self.all("customer")
            if not customer.get("deleted")
            and customer["created"] + SEARCH_DELAY <= self.now
            and all(customer["metadata"].get(name) == value for name, value in wanted.items())
        ]

    # Customers, products, prices

    def create_customer(
        self, *, email: str | None, name: str | None, phone: str | None, metadata: Json
    ) -> Json:
        """Make a customer."""
        customer = self._keep(
            "cus",
            {
                "object": "customer",
                "address": None,
                "balance": 0,
                "created": self.now,
                "currency": None,
                "default_source": None,
                "delinquent": False,
                "description": None,
                "discount": None,
                "email": email,
                "invoice_prefix": secrets.token_hex(4).upper(),
                "invoice_settings": {
                    "custom_fields": None,
                    "default_payment_method": None,
                    "footer": None,
                    "rendering_options": None,
                },
                "livemode": self.livemode,
                "metadata": metadata,
                "name": name,
                "phone": phone,
                "preferred_locales": [],
                "shipping": None,
                "tax_exempt": "none",
                "test_clock": None,
            },
            length=14,
        )
        self._tell("customer.created", customer, None)
        return customer

    def update(self, thing: Json, **changes: Any) -> Json:
        """Change an object and tell of it; metadata is merged, an empty value removes a key."""
        metadata = changes.pop("metadata", None)
        if metadata is not None:
            merged = {**thing["metadata"], **metadata}
            changes["metadata"] = {name: value for name, value in merged.items() if value}
        return self._change(thing, **changes)

    def delete_customer(self, customer: Json) -> Json:
        """Delete a customer, which ends the subscriptions; the id goes on saying so."""
        for subscription in self.subscriptions_of(customer["id"], ended=False):
            self.cancel(subscription)
        self._tell("customer.deleted", customer, None)
        gone = {"id": customer["id"], "object": "customer", "deleted": True}
        self._objects[customer["id"]] = gone
        return gone

    def create_product(self, fields: Json, object_id: str | None = None) -> Json:
        """Make a product."""
        product = {
            "object": "product",
            "active": True,
            "created": self.now,
            "default_price": None,
            "description": fields.get("description"),
            "images": [],
            "livemode": self.livemode,
            "marketing_features": [],
            "metadata": fields.get("metadata", {}),
            "name": fields["name"],
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": None,
            "type": "service",
            "unit_label": None,
            "updated": self.now,
            "url": None,
        }
        return self._keep("prod", product, object_id, length=14)

    def create_price(
        self,
        product: str,
        currency: str,
        unit_amount: int,
        recurring: Json | None,
        lookup_key: str | None,
        metadata: Json,
        object_id: str | None = None,
    ) -> Json:
        """Make a price."""
        if recurring:
            recurring = {
                "interval": recurring["interval"],
                "interval_count": int(recurring.get("interval_count", 1)),
                "meter": None,
                "trial_period_days": None,
                "usage_type": "licensed",
            }
        price = {
            "object": "price",
            "active": True,
            "billing_scheme": "per_unit",
            "created": self.now,
            "currency": currency,
            "custom_unit_amount": None,
            "livemode": self.livemode,
            "lookup_key": lookup_key,
            "metadata": metadata,
            "nickname": None,
            "product": product,
            "recurring": recurring,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "recurring" if recurring else "one_time",
            "unit_amount": unit_amount,
            "unit_amount_decimal": str(unit_amount),
        }
        return self._keep("price", price, object_id)

    # Checkout

    def create_session(self, origin: str, *, price: Json, quantity: int, asked: Json) -> Json:
        """Open a checkout session; `asked` are the fields it takes over from the request."""
        mode = "live" if self.livemode else "test"
        session_id = new_id(f"cs_{mode}", 58)
        total = price["unit_amount"] * quantity
        expires_at = asked.pop("expires_at", None) or self.now + SESSION_LIFETIME
        session = {
            "object": "checkout.session",
            "amount_subtotal": total,
            "amount_total": total,
            "automatic_tax": {"enabled": False, "liability": None, "status": None},
            "created": self.now,
            "currency": price["currency"],
            "customer_details": None,
            "expires_at": expires_at,
            "invoice": None,
            "livemode": self.livemode,
            "mode": "subscription",
            "payment_intent": None,
            "payment_method_collection": "always",
            "payment_method_types": ["card"],
            "payment_status": "unpaid",
            "status": "open",
            "subscription": None,
            "ui_mode": "hosted",
            "url": f"{origin}/c/pay/{session_id}",
            "_price": price["id"],
            "_quantity": quantity,
            **asked,
        }
        self._keep("cs", session, session_id)
        self._due[session_id] = expires_at
        return session

    def expire(self, session: Json) -> Json:
        """End an open session."""
        if session["status"] != "open":
            raise Refused(
                f'Only Checkout Sessions with a status in ["open"] can be expired. This '
                f"Checkout Session has a status of {session['status']}."
            )
        self._due.pop(session["id"], None)
        session.update(status="expired", url=None)
        self._tell("checkout.session.expired", session, None)
        return session

    def pay(self, session: Json, card: str, email: str | None) -> Json:
        """Complete an open session with a card that pays now, and later unless it is declining."""
        subscription = self._complete(session, card, email, "active")
        invoice = self._bill(subscription, "subscription_create")
        session.update(payment_status="paid", invoice=invoice["id"])
        self._settle(invoice)
        self._tell("checkout.session.completed", session, None)
        return subscription

    def decline(self, session: Json) -> None:
        """Let the bank refuse the card: the session stays open, and no subscription comes."""
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
        self._tell("payment_intent.payment_failed", intent, None)

    def debit(self, session: Json, email: str | None) -> Json:
        """Complete an open session with a bank debit, which is settled days later."""
        subscription = self._complete(session, DEFAULT_CARD, email, "incomplete")
        invoice = self._bill(subscription, "subscription_create")
        session["invoice"] = invoice["id"]
        self._due[subscription["id"]] = self.now + 30 * DAY
        self._tell("checkout.session.completed", session, None)
        return subscription

    def settle_debit(self, session: Json, *, paid: bool) -> None:
        """Let the bank debit of a completed session come in, or fail."""
        subscription = self.get("subscription", session["subscription"])
        invoice = self.get("invoice", session["invoice"])
        if paid:
            session["payment_status"] = "paid"
            self._start(subscription)
            self._settle(invoice)
            self._tell("checkout.session.async_payment_succeeded", session, None)
        else:
            self._fail(invoice)
            self._due.pop(subscription["id"], None)
            self._due.pop(invoice["id"], None)
            self._change(subscription, status="incomplete_expired", ended_at=self.now)
            self._tell("checkout.session.async_payment_failed", session, None)

    def _require_open(self, session: Json) -> None:
        if session["status"] != "open":
            raise Refused(f"This Checkout Session is {session['status']}, no longer open.")

    def _complete(self, session: Json, card: str, email: str | None, status: str) -> Json:
        self._require_open(session)
        self._due.pop(session["id"], None)
        customer = self.customer(session["customer"])
        if not customer["email"] and email:
            self._change(customer, email=email)
        method = self._attach_card(customer, card)
        subscription = self._subscribe(session, method, status)
        session.update(
            status="complete",
            url=None,
            subscription=subscription["id"],
            customer_details={
                "address": None,
                "email": customer["email"],
                "name": customer["name"],
                "phone": customer["phone"],
                "tax_exempt": "none",
                "tax_ids": [],
            },
        )
        return subscription

    def _attach_card(self, customer: Json, last4: str) -> Json:
        method = self._keep(
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
        self._tell("payment_method.attached", method, None)
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
            "discounts": [],
            "metadata": {},
            "price": price,
            "quantity": session["_quantity"],
            "subscription": subscription_id,
            "tax_rates": [],
        }
        url = f"/v1/subscription_items?subscription={subscription_id}"
        subscription = {
            "object": "subscription",
            "application": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
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
            "days_until_due": None,
            "default_payment_method": method["id"],
            "default_tax_rates": [],
            "description": None,
            "discounts": [],
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
            "metadata": (session.get("_subscription_data") or {}).get("metadata", {}),
            "pause_collection": None,
            "start_date": start,
            "status": status,
            "trial_end": None,
            "trial_start": None,
        }
        self._keep("sub", subscription, subscription_id)
        if status == "active":
            self._due[subscription_id] = end
        self._tell("customer.subscription.created", subscription, None)
        return subscription

    def cancel_at_period_end(self, subscription: Json) -> Json:
        """Let the subscription end with its period, as its API parameter does."""
        self.require_live(subscription)
        return self._change(
            subscription,
            cancel_at_period_end=True,
            cancel_at=_item(subscription)["current_period_end"],
            canceled_at=self.now,
        )

    def cancel_at(self, subscription: Json, moment: int) -> Json:
        """Let the subscription end at a moment; so does the portal, at the period's end."""
        self.require_live(subscription)
        self._change(subscription, cancel_at=moment, canceled_at=self.now)
        self._due[subscription["id"]] = min(moment, _item(subscription)["current_period_end"])
        return subscription

    def keep(self, subscription: Json) -> Json:
        """Take a cancellation back."""
        self.require_live(subscription)
        self._due[subscription["id"]] = _item(subscription)["current_period_end"]
        return self._change(
            subscription, cancel_at_period_end=False, cancel_at=None, canceled_at=None
        )

    def cancel(self, subscription: Json, reason: str = "cancellation_requested") -> Json:
        """End the subscription now."""
        if subscription["status"] not in LIVE:
            raise missing("subscription", subscription["id"])
        self._due.pop(subscription["id"], None)
        for invoice in self._open_invoices(subscription):
            self._due.pop(invoice["id"], None)
        subscription.update(
            status="canceled",
            canceled_at=subscription["canceled_at"] or self.now,
            ended_at=self.now,
            cancellation_details={"comment": None, "feedback": None, "reason": reason},
        )
        self._tell("customer.subscription.deleted", subscription, None)
        return subscription

    def pause(self, subscription: Json) -> Json:
        """Pause the subscription, as a trial without a card ends."""
        self.require_live(subscription)
        previous = {"status": subscription["status"]}
        self._due.pop(subscription["id"], None)
        subscription["status"] = "paused"
        self._tell("customer.subscription.updated", subscription, previous)
        self._tell("customer.subscription.paused", subscription, None)
        return subscription

    def resume(self, subscription: Json) -> Json:
        """Take a paused subscription up again, with a new period."""
        if subscription["status"] != "paused":
            raise Refused("You can only resume a subscription whose status is paused.")
        self._new_period(subscription, self.now)
        subscription["status"] = "active"
        self._tell("customer.subscription.updated", subscription, {"status": "paused"})
        self._tell("customer.subscription.resumed", subscription, None)
        return subscription

    def end_period(self, subscription: Json) -> Json:
        """Bring the end of the period forward to this moment: renew, or end what was cancelled."""
        self.require_live(subscription)
        _item(subscription)["current_period_end"] = self.now
        if subscription["cancel_at"] is not None:
            subscription["cancel_at"] = self.now
        self._due.pop(subscription["id"], None)
        self._end_period(subscription)
        return subscription

    def use_card(self, subscription: Json, last4: str) -> Json:
        """Let the subscription be paid with another card from now on."""
        method = self._attach_card(self.customer(subscription["customer"]), last4)
        return self._change(subscription, default_payment_method=method["id"])

    def fail_payment(self, subscription: Json) -> Json:
        """Renew with a card that is refused: past due."""
        self.use_card(subscription, DECLINING_CARD)
        return self.end_period(subscription)

    def pay_up(self, subscription: Json) -> Json:
        """Pay what is open with a good card."""
        self.use_card(subscription, DEFAULT_CARD)
        return self.pay_open(subscription)

    def pay_open(self, subscription: Json) -> Json:
        """Pay what is open with the card that is there. Raises Refused where that is refused."""
        for invoice in self._open_invoices(subscription):
            self.pay_invoice(invoice)
        return subscription

    def give_up(self, subscription: Json) -> Json:
        """Stop trying: the subscription becomes what `gives_up` says."""
        if self.gives_up == "canceled":
            return self.cancel(subscription, "payment_failed")
        return self._change(subscription, status=self.gives_up)

    def require_live(self, subscription: Json) -> None:
        """Raise Refused where the subscription has ended."""
        if subscription["status"] not in LIVE:
            raise Refused(
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
        if self.card_of(subscription) == DECLINING_CARD:
            self._fail(invoice)
        else:
            self._settle(invoice)
            self._tell("customer.subscription.updated", subscription, previous)

    def _new_period(self, subscription: Json, start: int) -> None:
        item = _item(subscription)
        item["current_period_start"] = start
        item["current_period_end"] = self._period_end(item["price"], start)
        due = item["current_period_end"]
        if subscription["cancel_at"]:
            due = min(due, subscription["cancel_at"])
        self._due[subscription["id"]] = due

    def _period_end(self, price: Json, start: int) -> int:
        if self.period:
            return start + self.period
        interval: str = price["recurring"]["interval"]
        count: int = price["recurring"]["interval_count"]
        days = {"day": 1, "week": 7}.get(interval)
        if days:
            return start + days * count * DAY
        return _months_later(start, count * (12 if interval == "year" else 1))

    def _start(self, subscription: Json) -> None:
        self._due[subscription["id"]] = _item(subscription)["current_period_end"]
        self._change(subscription, status="active")

    def card_of(self, subscription: Json) -> str:
        """Return the last digits of the card that pays a subscription."""
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
            "quote_details": None,
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
            "auto_advance": True,
            "billing_reason": reason,
            "collection_method": "charge_automatically",
            "created": self.now,
            "currency": subscription["currency"],
            "customer": subscription["customer"],
            "customer_email": customer.get("email"),
            "hosted_invoice_url": None,
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
        self._keep("in", invoice, invoice_id)
        subscription["latest_invoice"] = invoice_id
        self._tell("invoice.created", invoice, None)
        self._tell("invoice.finalized", invoice, None)
        return invoice

    def pay_invoice(self, invoice: Json) -> Json:
        """Try to pay an open invoice now. Raises Refused (402) where the card is refused."""
        if invoice["status"] != "open":
            raise Refused("Invoice is already paid", code="invoice_already_paid")
        subscription = self._subscription_of(invoice)
        if self.card_of(subscription) == DECLINING_CARD:
            self._fail(invoice)
            raise Refused(
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
        self._tell("invoice.paid", invoice, None)
        self._tell("invoice.payment_succeeded", invoice, None)

    def _fail(self, invoice: Json) -> None:
        tries = invoice["attempt_count"]
        again = self.now + RETRY_AFTER[tries] if tries < len(RETRY_AFTER) else None
        invoice.update(attempted=True, attempt_count=tries + 1, next_payment_attempt=again)
        if again:
            self._due[invoice["id"]] = again
        subscription = self._subscription_of(invoice)
        self._tell("invoice.payment_failed", invoice, None)
        if subscription["status"] == "active":
            self._change(subscription, status="past_due")

    def _try_again(self, invoice: Json) -> None:
        subscription = self._subscription_of(invoice)
        if subscription["status"] != "past_due":
            return
        try:
            self.pay_invoice(invoice)
        except Refused:
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
            "flow": None,
            "livemode": self.livemode,
            "locale": None,
            "on_behalf_of": None,
            "return_url": return_url,
        }
        self._keep("bps", portal)
        portal["url"] = f"{origin}/p/session/{portal['id']}"
        return portal

    # Within

    def _keep(
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
            self._tell(f"{kind}.updated", thing, previous)
        return thing


def public(thing: Json) -> Json:
    """Return an object without what Stripe keeps to itself."""
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def _item(subscription: Json) -> Json:
    item: Json = subscription["items"]["data"][0]
    return item


def _months_later(start: int, months: int) -> int:
    """Return the same day and time so many months later, or the last day of a shorter month."""
    moment = datetime.fromtimestamp(start, UTC)
    years, month = divmod(moment.month - 1 + months, 12)
    year, month = moment.year + years, month + 1
    day = min(moment.day, calendar.monthrange(year, month)[1])
    later = moment.replace(year=year, month=month, day=day)
    return int(later.timestamp())
