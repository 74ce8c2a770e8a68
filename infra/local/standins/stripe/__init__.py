"""A stand-in for Stripe: the calls, pages, events and time that this project needs of it.

wire.py      parameters, errors, idempotency keys, expansion, pages of lists
ledger.py    customers, prices, checkout sessions, subscriptions, invoices, and their rules
mail.py      events, signed and delivered: retried, doubled, shuffled, held back on demand
pages.py     what a person sees: checkout and the billing portal
app.py       all of it as one web application
driver.py    the same as a test sees it
"""

from infra.local.standins.stripe.app import create_app
from infra.local.standins.stripe.ledger import PRO_PRICE
from infra.local.standins.stripe.mail import EVENTS, Endpoint

__all__ = ["EVENTS", "PRO_PRICE", "Endpoint", "create_app"]
