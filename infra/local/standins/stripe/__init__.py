"""A stand-in for Stripe: the calls, pages, events and the clock that this project needs.

protocol.py  form parameters, errors, pages of lists, idempotency keys
ledger.py    customers, prices, Checkout sessions, subscriptions, invoices, and their rules
events.py    events, their signatures, and their delivery with retries
api.py       the operations of the Stripe API
browser.py   a person's actions in Checkout and the billing portal; pages.py has the HTML
controls.py  actions that only a test can take
app.py       the web application of all parts, with faults and persistence
"""

from infra.local.standins.stripe.app import create_app
from infra.local.standins.stripe.events import EVENTS, Endpoint
from infra.local.standins.stripe.ledger import PRO_PRICE

__all__ = ["EVENTS", "PRO_PRICE", "Endpoint", "create_app"]
